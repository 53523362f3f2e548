"""Openings that nothing preloads: what `next` leaves out at the price of when it is asked, and first ones."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget, choose_many
from usage_analytics.serving.decisions.prewarms import UserEvents
from usage_analytics.serving.decisions.priced_moments import PricedDay, missed_openings, priced_moments
from usage_analytics_tests.serving.small_models import APPS, fit, without_factors

MINUTE_US = 60_000_000
BEGAN_US = int(datetime(2026, 11, 23, 13, tzinfo=UTC).timestamp() * 1e6)
DAY = PricedDay(BEGAN_US, 2, np.array([1.0, 9.0, 2.0]))  # slots of two minutes
ALIKE = Economics(APPS, np.full(4, 100.0), np.full(4, 40.0), np.zeros(4))
ONE = Budget(1, 1e9)
BLOTTER, CHART, CHAT, QUOTES = 1, 2, 3, 4  # codes
# After quotes, a chart in 9 of 10 steps; so it is worth a price of two, not of nine.
MODEL = without_factors(fit(["quotes", "chart"], times=90))
WALKS = without_factors(fit(["quotes", "chart", "chat", "blotter"], ["chart", "quotes", "chart"], times=30))


def batch(*sessions: tuple[str, list[tuple[float, int]]]) -> SessionBatch:
    """User sessions: whose, and events as minutes of the day and codes."""
    coded = CodedSessions.of([[code for _, code in events] for _, events in sessions])
    minutes = [minute for _, events in sessions for minute, _ in events]
    times_us = BEGAN_US + (np.array(minutes) * MINUTE_US).astype(np.int64)
    return SessionBatch(pa.array([user for user, _ in sessions]), coded, times_us)


def test_an_instant_has_the_price_of_its_slot() -> None:
    times_us = BEGAN_US + np.array([-1, 0, 2 * MINUTE_US - 1, 2 * MINUTE_US, 6 * MINUTE_US - 1, 6 * MINUTE_US])
    assert DAY.slots(times_us).tolist() == [-1, 0, 0, 1, 2, -1]
    assert DAY.prices_at(times_us).tolist() == [1.0, 1.0, 1.0, 9.0, 2.0, 1.0]


def test_a_moment_has_the_price_of_when_the_mini_app_before_is_opened() -> None:
    sessions = batch(("mary", [(1.9, QUOTES), (2.1, CHART), (4.5, QUOTES)]), ("joe", [(7, CHART), (8, CHAT)]))
    found = priced_moments(sessions, np.full((3, 4), 0.25), DAY)
    assert found.moments.price.tolist() == [1.0, 9.0, 1.0]
    assert found.moments.current.tolist() == [3, 1, 1] and found.transitions.next.tolist() == [1, 3, 2]


def test_what_was_worth_its_price_is_not_missed() -> None:
    """Asked at 1.9 minutes the chart was worth it, though it is opened when it is not any more."""
    model = without_factors(fit(["blotter", "chat"], ["chat", "blotter"], *[["quotes", "chart"]] * 50))
    sessions = [
        batch(("mary", [(1.9, QUOTES), (2.1, CHART)]), ("joe", [(2.1, QUOTES), (2.2, CHART)])),
        batch(("mary", [(4.0, QUOTES), (4.1, QUOTES), (4.2, -1)])),
    ]
    found = missed_openings(model, sessions, DAY, ALIKE, ONE)
    assert found.user.tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert found.minute.tolist() == [1, 2, 2, 2, 4, 4, 4]
    chart, quotes = 1, 3
    assert found.missed.tolist() == [quotes, -1, quotes, chart, quotes, -1, -1], (
        "first ones, and what the price forbids"
    )


EVENTS = st.lists(st.tuples(st.integers(-2, 14).map(lambda half: half / 2), st.sampled_from([-1, 1, 2, 3, 4])),
                  min_size=1, max_size=6).map(sorted)  # fmt: skip
SESSIONS = st.lists(st.tuples(st.sampled_from(["mary", "joe", "jim"]), EVENTS), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(SESSIONS, st.integers(1, 3))
def test_missed_is_what_the_choice_of_one_moment_leaves_out(
    sessions: list[tuple[str, list[tuple[float, int]]]], calls: int
) -> None:
    saved_ms = np.array([100.0, 300.0, 50.0, 200.0])
    economics, budget = Economics(APPS, saved_ms, np.full(4, 15.0), np.zeros(4)), Budget(calls, 1e9)
    found = missed_openings(WALKS, [batch(*sessions)], DAY, economics, budget)
    expected = []
    for _, events in sessions:
        expected.append(max(events[0][1] - 1, -1))
        for place, ((asked, open_), (_, code)) in enumerate(pairwise(events), start=1):
            coded = CodedSessions.of([[code for _, code in events[:place]] + [1]])
            able = WALKS.probabilities(coded)[-1]
            if open_ > 0:
                able[open_ - 1] = 0.0
            [price] = DAY.prices_at(np.array([BEGAN_US + int(asked * MINUTE_US)]))
            preloaded = np.flatnonzero(choose_many(able[None, :], economics, budget, price)[0]).tolist()
            expected.append(code - 1 if code > 0 and code != open_ and code - 1 not in preloaded else -1)
    assert found.missed.tolist() == expected
    assert found.since_us.tolist() == [int(minute * MINUTE_US) for _, events in sessions for minute, _ in events]


@settings(max_examples=100, deadline=None)
@given(SESSIONS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_of_some_slots_all_their_events_come(
    sessions: list[tuple[str, list[tuple[float, int]]]], asked: list[bool]
) -> None:
    slots = np.array(asked)
    of_all, of_some = (missed_openings(WALKS, [batch(*sessions)], DAY, ALIKE, ONE, each) for each in (None, slots))

    def told(found: UserEvents) -> list[tuple[int, int]]:
        events = zip(found.since_us.tolist(), found.missed.tolist(), DAY.slots(BEGAN_US + found.since_us), strict=True)
        return sorted((since, missed) for since, missed, slot in events if slot >= 0 and slots[slot])

    assert told(of_all) == told(of_some)


def test_without_sessions_there_are_no_events() -> None:
    assert not len(missed_openings(MODEL, [], DAY, ALIKE, ONE).user)
    early = [batch(("mary", [(-5.0, 1)]))]
    assert not len(missed_openings(MODEL, early, DAY, ALIKE, ONE, np.ones(3, np.bool_)).missed)
