"""A challenger wins by log-loss and net benefit, each beyond the chance of who was held out; else the counts stay."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from usage_analytics.models.branching.challengers.choice import COUNTS, choose_model
from usage_analytics.models.branching.gains import paired_gain
from usage_analytics.models.branching.scoring import Scores, UserTotals

RANDOM = np.random.default_rng(11)
PREDICTIONS = RANDOM.integers(1, 30, 400)
LOSSES = PREDICTIONS * RANDOM.gamma(4.0, 0.4, 400)
NOISE = PREDICTIONS * RANDOM.normal(0.0, 0.2, 400)
NOISE -= NOISE.sum() * PREDICTIONS / PREDICTIONS.sum()  # so that a planted gain is the gain


def scores(gain: float = 0.0, net_benefit_ms: float | None = 100.0) -> Scores:
    losses = LOSSES - gain * PREDICTIONS + (NOISE if gain else 0.0)
    users = UserTotals(tuple(f"user-{n:03d}" for n in range(400)), PREDICTIONS, losses)
    total = int(PREDICTIONS.sum())
    return Scores(total, 0, 0.4, 0.6, float(losses.sum() / total), 0.01, users, net_benefit_ms)


def error_of(challenger: Scores) -> float:
    evidence = choose_model({COUNTS: scores(), "gru": challenger}).evidence["gru"]
    return float(evidence["log_loss_gain_standard_error"])


def test_a_challenger_that_is_better_in_both_is_chosen_with_evidence_that_json_holds() -> None:
    choice = choose_model({COUNTS: scores(), "gru": scores(0.1, 120.0), "neighbours": scores(-0.2, 130.0)})
    assert choice.name == "gru"
    told = json.loads(json.dumps(choice.evidence))
    assert told["chosen"] == "gru"
    assert told["gru"]["beats_counts"] is True
    assert told["gru"]["log_loss_gain"] == pytest.approx(0.1)
    assert told["gru"]["net_benefit_gain_ms"] == pytest.approx(20.0)
    assert told["counts"]["users"] == 400
    assert told["neighbours"]["why_not"] == "its log-loss is not better by more than its standard error"


@pytest.mark.parametrize(
    ("challenger", "why"),
    [
        (scores(0.0, 120.0), "log-loss is not better"),
        (scores(-0.1, 120.0), "log-loss is not better"),
        (scores(0.1, 100.0), "net benefit is not greater"),
        (scores(0.1, 90.0), "net benefit is not greater"),
        (scores(0.1, float("nan")), "net benefit is not greater"),
        (scores(0.1, None), "net benefit, or that of the counts, is not known"),
        (scores(-0.1, 90.0), "log-loss is not better by more than its standard error; its net benefit is not greater"),
    ],
)
def test_the_counts_stay(challenger: Scores, why: str) -> None:
    choice = choose_model({COUNTS: scores(), "gru": challenger})
    assert choice.name == COUNTS
    assert why in choice.evidence["gru"]["why_not"]


def test_a_gain_within_its_standard_error_is_none() -> None:
    error = error_of(scores(0.1, 120.0))
    assert choose_model({COUNTS: scores(), "gru": scores(0.9 * error, 120.0)}).name == COUNTS
    assert choose_model({COUNTS: scores(), "gru": scores(1.1 * error, 120.0)}).name == "gru"


def with_benefits(given: Scores, by_user: np.ndarray) -> Scores:
    mean = float(by_user.sum() / given.predictions)
    return replace(given, net_benefit_ms=mean, by_user=replace(given.by_user, net_benefit_ms=by_user))


def test_net_benefits_by_user_are_held_to_their_own_standard_error() -> None:
    usual = RANDOM.normal(100.0, 5.0, 400) * PREDICTIONS
    counts = with_benefits(scores(), usual)
    for spread, chosen in ((1.0, "gru"), (1000.0, COUNTS)):
        noise = NOISE * spread
        challenger = with_benefits(scores(0.1), usual + 2.0 * PREDICTIONS + noise)
        assert choose_model({COUNTS: counts, "gru": challenger}).name == chosen


def test_of_several_winners_the_one_worth_most_is_chosen() -> None:
    assert choose_model({COUNTS: scores(), "a": scores(0.2, 110.0), "b": scores(0.1, 111.0)}).name == "b"


def test_the_standard_error_is_what_other_users_would_have_moved() -> None:
    """The spread of the gain over many draws of users is what one draw says it is."""
    random = np.random.default_rng(5)
    predictions = random.integers(1, 30, (2000, 200))
    differences = predictions * random.normal(0.05, 0.3, (2000, 200)) + random.normal(0, 1, (2000, 200))
    gains = [paired_gain(d, np.zeros(200), p) for d, p in zip(differences, predictions, strict=True)]
    spread = np.std([gain.mean for gain in gains])
    assert np.mean([gain.standard_error for gain in gains]) == pytest.approx(spread, rel=0.05)


def test_one_user_proves_nothing() -> None:
    assert paired_gain(np.array([5.0]), np.array([0.0]), np.array([3])).standard_error is None
    assert not paired_gain(np.array([5.0]), np.array([0.0]), np.array([3])).exceeds_error


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no scores of 'counts'.*\['gru'\]"):
        choose_model({"gru": scores()})
    others = replace(scores(), by_user=replace(scores().by_user, predictions=PREDICTIONS + 1))
    with pytest.raises(ValueError, match="gru was scored on other predictions than counts"):
        choose_model({COUNTS: scores(), "gru": others})
