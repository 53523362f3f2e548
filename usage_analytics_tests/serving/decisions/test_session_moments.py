"""Moments of user sessions: one for each event but the first, with what the model expected and when it came."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch
from usage_analytics.serving.decisions import session_moments
from usage_analytics.serving.decisions.moments import NONE
from usage_analytics.serving.decisions.session_moments import known_moments
from usage_analytics_tests.serving.small_models import fit, without_factors


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


def test_sessions_of_one_event_are_nothing_to_replay() -> None:
    with pytest.raises(ValueError, match="no user session holds a second event"):
        known_moments(without_factors(fit(["chart", "quotes"])), [batch([1], [2])])
