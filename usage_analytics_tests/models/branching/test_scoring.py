"""One measure for all sequence models: by hand, in any batches, and equal to the count model's own evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.counts.transition_counts import UNKNOWN
from usage_analytics.models.branching.evaluation import evaluate
from usage_analytics.models.branching.scoring import Scores, score
from usage_analytics.models.branching.sequence_model import CountedSequences
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import read_sessions
from usage_analytics_tests.models.branching.challengers.planted_sessions import (
    batch_of,
    counted,
    markov_sessions,
    write_sessions,
)


class Always:
    """The same distribution whatever came before."""

    mini_apps = ("blotter", "chart", "chat", "quotes")
    reserved = 0.1

    def __init__(self, *row: float) -> None:
        self.row = np.array(row)

    def probabilities(self, sessions: CodedSessions) -> Floats:
        return np.tile(self.row, (len(sessions.following()), 1))


def test_figures_worked_out_by_hand() -> None:
    model = Always(0.5, 0.25, 0.15, 0.1)
    scores = score(model, [batch_of(["b", "a", "b"], [[4, 1, 1, 4], [2, UNKNOWN], [3]]), batch_of(["b"], [[1, 3]])])
    assert (scores.predictions, scores.unknown_predictions) == (5, 1)
    assert scores.recall_at_1 == pytest.approx(2 / 5)
    assert scores.recall_at_3 == pytest.approx(3 / 5)
    of_b = -np.log([0.45, 0.45, 0.09, 0.135]).sum()
    assert scores.log_loss == pytest.approx((of_b - np.log(0.1)) / 5)
    assert scores.calibration_error == pytest.approx(0.45 - 2 / 5)
    assert scores.by_user.users == ("a", "b")
    assert scores.by_user.predictions.tolist() == [1, 4]
    np.testing.assert_allclose(scores.by_user.log_loss, [-np.log(0.1), of_b])


def test_net_benefits_are_those_of_each_users_predictions() -> None:
    """Here acting is worth the code of what was opened, and as many tenths as the first guess is sure."""
    batches = [batch_of(["b", "a", "b"], [[4, 1, 1, 4], [2, UNKNOWN], [3]]), batch_of(["b"], [[1, 3]])]
    scores = score(
        Always(0.5, 0.25, 0.15, 0.1), batches, lambda batch, rows: batch.sessions.following() + rows.max(axis=1) / 10
    )
    np.testing.assert_allclose(scores.by_user.net_benefit_ms, [-1 + 0.05, 1 + 1 + 4 + 3 + 4 * 0.05])
    assert scores.net_benefit_ms == pytest.approx((8 + 5 * 0.05) / 5)
    unasked = score(Always(0.5, 0.25, 0.15, 0.1), batches)
    assert unasked.net_benefit_ms is None and unasked.by_user.net_benefit_ms is None


def test_of_equal_probabilities_the_first_name_is_the_guess() -> None:
    scores = score(Always(0.25, 0.25, 0.25, 0.25), [batch_of(["a"], [[1, 1, 2, 3, 4]])])
    assert (scores.recall_at_1, scores.recall_at_3) == (0.25, 0.75)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from([UNKNOWN, 1, 2, 3, 4]), max_size=5)), min_size=1
    ),
    st.data(),
)
def test_batches_do_not_matter(sessions: list[tuple[str, list[int]]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(sessions)))
    parts = [part for part in (sessions[:cut], sessions[cut:]) if part]
    batches = [batch_of([user for user, _ in part], [sequence for _, sequence in part]) for part in parts]
    whole = batch_of([user for user, _ in sessions], [sequence for _, sequence in sessions])
    if not len(whole.sessions.following()):
        with pytest.raises(ValueError, match="nothing to predict"):
            score(Always(0.5, 0.25, 0.15, 0.1), batches)
        return
    one, other = score(Always(0.5, 0.25, 0.15, 0.1), [whole]), score(Always(0.5, 0.25, 0.15, 0.1), batches)
    assert one.by_user.users == other.by_user.users
    assert figures(one) == pytest.approx(figures(other))


def figures(scores: Scores) -> tuple[float, ...]:
    return (
        scores.predictions,
        scores.unknown_predictions,
        scores.recall_at_1,
        scores.recall_at_3,
        scores.log_loss,
        scores.calibration_error,
    )


def test_the_counts_score_as_in_their_own_evaluation(tmp_path: Path) -> None:
    planted = markov_sessions(order=2, apps=5, sessions=400, seed=3)
    planted.sessions[4][-1:] = ["never seen", "app-1", "app-2"]
    path = write_sessions(tmp_path / "day.parquet", planted.sessions)
    model = NGramModel.fit(counted(planted.sessions, (0, 1, 2, 3)))
    theirs = evaluate(model, counted(planted.sessions, (4,)))
    ours = score(CountedSequences(model), read_sessions([path], model.mini_apps, [4]))
    assert (ours.predictions, ours.unknown_predictions) == (theirs.transitions, theirs.unknown_transitions)
    assert ours.unknown_predictions == 1
    assert ours.recall_at_1 == pytest.approx(theirs.recall_at_1)
    assert ours.recall_at_3 == pytest.approx(theirs.recall_at_3)
    assert ours.log_loss == pytest.approx(theirs.log_loss, rel=1e-12)
    assert ours.calibration_error == pytest.approx(theirs.calibration_error, rel=1e-9)
