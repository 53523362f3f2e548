"""Moments of user sessions: one for each event but the first, with what the model expected and when it came."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.context_base import ContextBase
from usage_analytics.models.branching.counts.transition_counts import UNKNOWN
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch
from usage_analytics.models.branching.training import MODEL, SESSIONS
from usage_analytics.serving.decisions import session_moments
from usage_analytics.serving.decisions.moments import NONE
from usage_analytics.serving.decisions.session_moments import known_moments, moments_of
from usage_analytics_tests.models.branching.challengers.planted_sessions import write_sessions
from usage_analytics_tests.serving.small_models import fit, without_factors

DAY = date(2026, 11, 23)
SINGLE = ["quotes"]  # there is nothing to predict in it


def batch(*sessions: list[int], times_us: list[int] | None = None) -> SessionBatch:
    coded = CodedSessions.of(sessions)
    times = np.arange(len(coded.codes)) * 1_000_000 if times_us is None else np.array(times_us)
    return SessionBatch(pa.array(["0" * 32] * len(sessions)), coded, times)


def test_each_event_but_the_first_is_a_moment() -> None:
    model = without_factors(fit(["chart", "quotes", "chart"]))
    found = known_moments(model, [batch([1, 2, -1, 1], times_us=[0, 1_500, 4_000, 9_000]), batch([2], [2, 2])])
    assert found.moments.current.tolist() == [0, 1, NONE, 1]
    assert found.transitions.next.tolist() == [1, NONE, 0, 1]
    assert found.transitions.dwell_ms.tolist() == [1.5, 2.5, 5.0, 1_000.0]
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0, rtol=1e-6)


def test_no_more_are_taken_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_moments, "MOST_CELLS", 6)
    model = without_factors(fit(["chart", "quotes", "chart"]))
    assert len(known_moments(model, [batch([1, 2, 1]), batch([1, 2, 1, 2, 1])]).moments) == 3


def sample_of(layout: Layout) -> Path:
    """Where the day's user sessions are kept; makes the folder."""
    layout.model(MODEL, DAY).mkdir(parents=True)
    return layout.model(MODEL, DAY) / SESSIONS


def test_of_a_day_its_sampled_sessions_tell(tmp_path: Path) -> None:
    layout, model = Layout(tmp_path, "clicks"), without_factors(fit(["chart", "quotes", "chart"]))
    sample = sample_of(layout)
    write_sessions(sample, [SINGLE, ["chart", "quotes", "chart"], SINGLE])
    found = moments_of(layout, DAY, model)
    assert found is not None and found.moments.current.tolist() == [0, 1]
    write_sessions(sample, [SINGLE, SINGLE])
    assert moments_of(layout, DAY, model) is None


def test_what_goes_wrong_in_a_model_is_not_taken_for_a_day_without_moments(tmp_path: Path) -> None:
    layout, model = Layout(tmp_path, "clicks"), without_factors(fit(["chart", "quotes", "chart"]))
    write_sessions(sample_of(layout), [["chart", "quotes", "chart"]])
    of_three = ContextBase(np.array([[UNKNOWN] * 3]), np.full((1, 3), 1 / 3, np.float32))
    with pytest.raises(ValueError, match="could not be broadcast"):
        moments_of(layout, DAY, model.with_base(of_three))


def test_sessions_of_one_event_are_nothing_to_replay() -> None:
    with pytest.raises(ValueError, match="no user session holds a second event"):
        known_moments(without_factors(fit(["chart", "quotes"])), [batch([1], [2])])
