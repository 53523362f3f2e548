"""Which user sessions are kept: against a list of all of them, however they come."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.challengers.recent_sessions import RecentSessions, recent_sessions
from usage_analytics.models.branching.counts.transition_counts import UNKNOWN
from usage_analytics_tests.models.branching.challengers.planted_sessions import batch_of

APPS = 4

read_sessions = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.sampled_from([UNKNOWN, 1, 2, 3, 4]), min_size=1, max_size=5)), max_size=25
)


def kept(sessions: list[tuple[int, list[int]]], most: int, at_once: int) -> RecentSessions:
    parts = [sessions[start : start + at_once] for start in range(0, len(sessions), at_once)]
    batches = [
        batch_of(["someone"] * len(part), [codes for _, codes in part], [ended for ended, _ in part]) for part in parts
    ]
    return recent_sessions(batches, APPS, most)


def told(recent: RecentSessions, session: int) -> set[int]:
    return set(recent.opened[recent.starts[session] : recent.starts[session + 1]].tolist())


@given(read_sessions, st.integers(1, 6), st.integers(1, 10))
def test_the_latest_sessions_of_each_mini_app_are_kept(
    sessions: list[tuple[int, list[int]]], most: int, at_once: int
) -> None:
    recent = kept(sessions, most, at_once)
    newest_first = sorted(enumerate(sessions), key=lambda each: (each[1][0], each[0]), reverse=True)
    for app in range(APPS):
        expected = [{code - 1 for code in codes if code > 0} for _, (_, codes) in newest_first if app + 1 in codes]
        assert [told(recent, session) for session in recent.with_app(app).tolist()][:most] == expected[:most]
        assert (np.diff(recent.with_app(app)) > 0).all()


@given(read_sessions, st.integers(1, 3))
def test_no_more_are_kept_than_each_mini_app_may(sessions: list[tuple[int, list[int]]], most: int) -> None:
    assert len(kept(sessions, most, 3).starts) - 1 <= APPS * most
