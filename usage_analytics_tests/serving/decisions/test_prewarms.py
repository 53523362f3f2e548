"""What is fetched ahead: chances as people would count them, and never more than the back end has left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.prewarming import DayLoad, balance_load
from usage_analytics.serving.decisions.prewarms import (
    PRIOR_USERS,
    Prewarms,
    UserEvents,
    chances_of,
    prewarms_of,
    slots_served,
)
from usage_analytics.serving.decisions.prices import Demand

APPS = ("blotter", "charts", "news")
CLASSES = 3
MINUTE_US = 60_000_000
SLOT = 2  # minutes
ECONOMICS = Economics(APPS, np.array([900.0, 600.0, 300.0]), np.array([30.0, 20.0, 10.0]), np.array([10.0, 20.0, 30.0]))
BUDGET = Budget(2, 40.0)
DEMAND = Demand(np.array([8.0, 4.0, 2.0]), np.array([0.2, 0.4, 0.5]))
NOTHING = -1

Event = tuple[int, float, int]  # user, minute, position of what was missed
EVENT = st.tuples(st.integers(0, 11), st.integers(-1, 12).map(float), st.integers(-1, 2))


def user_events(events: Sequence[Event]) -> UserEvents:
    """Of users whose class is the rest of their number."""
    users, minutes, missed = (np.array(column) for column in zip(*events, strict=True)) if events else np.empty((3, 0))
    since_us = (minutes * MINUTE_US).astype(np.int64)
    return UserEvents(users.astype(np.int64), users.astype(np.int64) % CLASSES, since_us, missed.astype(np.int64))


def counted(events: Sequence[Event], slot: int, ahead: Sequence[int]) -> list[list[float]]:
    """The chances, by counting users one by one."""
    active = {user for user, minute, _ in events if minute // SLOT == slot}
    chances = []
    for user_class in range(CLASSES):
        row = []
        for app in range(len(APPS)):
            missed = {user for user, minute, what in events if minute // SLOT in ahead and what == app} & active
            everyone = len(missed) / (len(active) + PRIOR_USERS)
            alike = [user for user in active if user % CLASSES == user_class]
            theirs = (len(missed & set(alike)) + PRIOR_USERS * everyone) / (len(alike) + PRIOR_USERS)
            row.append(theirs if user_class else everyone)
        chances.append(row)
    return chances


def loaded(calls: Sequence[float], fresh_slots: int = 1) -> DayLoad:
    """A back end that can take 100 calls a minute."""
    return balance_load(np.array(calls), 100.0, DEMAND, 60.0 * SLOT * (fresh_slots + 1), SLOT)


def most_asked(load: DayLoad, events: Sequence[Event], prewarms: Prewarms, budget: Budget) -> dict[int, float]:
    """By minute of the day, how many calls fetching ahead is expected to make."""
    fetched = prewarms.chosen(ECONOMICS, budget).sum(axis=2)
    asked: dict[int, float] = {}
    for row, slot in enumerate(prewarms.slots.tolist()):
        here = [(minute, user) for user, minute, _ in events if minute // SLOT == slot]
        a_call = load.calls[slot * SLOT : (slot + 1) * SLOT].sum() / len(here)
        for user in {user for _, user in here}:
            first = int(min(minute for minute, who in here if who == user))
            asked[first] = asked.get(first, 0.0) + a_call * fetched[row, user % CLASSES]
    return asked


@given(st.lists(EVENT, max_size=60), st.integers(0, 3), st.sets(st.integers(1, 5)))
def test_chances_are_those_that_people_would_count(events: list[Event], slot: int, ahead: set[int]) -> None:
    found = chances_of(user_events(events), slot, np.array(sorted(ahead), np.int64), SLOT, CLASSES, len(APPS))
    assert found == pytest.approx(np.array(counted(events, slot, sorted(ahead))))
    assert ((found >= 0.0) & (found <= 1.0)).all()


def test_one_who_misses_a_mini_app_twice_counts_once_and_who_was_not_active_does_not() -> None:
    here = [(user, 0.0, NOTHING) for user in range(60)]
    twice = [(0, 2.0, 1), (0, 2.5, 1), (3, 3.0, 1)]
    elsewhere = [(60, 2.0, 1), (1, 5.0, 1), (2, 1.0, 1)]
    [everyone, first, second] = chances_of(user_events(here + twice + elsewhere), 0, np.array([1]), SLOT, 3, 3)
    assert everyone.tolist() == [0.0, 2 / 80, 0.0], "20 more who open nothing"
    assert first.tolist() == [0.0, (0 + 20 * 2 / 80) / 40, 0.0], "none of 20, and 20 more as all"
    assert second.tolist() == first.tolist()


CALLS = st.lists(st.integers(0, 110).map(float), min_size=2, max_size=14)


@settings(max_examples=300, deadline=None)
@given(CALLS, st.lists(EVENT, min_size=10, max_size=80), st.integers(1, 3), st.integers(0, 3))
def test_no_minute_gets_more_than_it_has_left(calls: list[float], events: list[Event], fresh: int, most: int) -> None:
    load, budget = loaded(calls, fresh), Budget(most, 40.0)
    prewarms = prewarms_of(user_events(events), load, ECONOMICS, budget, CLASSES)
    for minute, asked in most_asked(load, events, prewarms, budget).items():
        assert asked <= load.spare[minute] * (1 + 1e-9)
    chosen = prewarms.chosen(ECONOMICS, budget)
    assert (chosen.sum(axis=2) <= most).all() and (chosen @ ECONOMICS.payload_bytes <= 40.0).all()
    assert chosen.any(axis=(1, 2)).all(), "no slot is kept in which nobody fetches anything"
    assert (prewarms.prices >= load.price[prewarms.slots]).all()
    served = dict(slots_served(load))
    for slot, end in zip(prewarms.slots.tolist(), prewarms.ends.tolist(), strict=True):
        assert load.taken_over[slot] > 0 and end == served[slot][-1] + 1
        assert slot < served[slot][0] and end - slot - 1 <= load.reach


# Two quiet minutes, then two in which the back end is full; of the users active in the first, a third misses the
# blotter later.
QUIET_THEN_FULL = loaded([30.0, 30.0, 100.0, 100.0])
THIRD = [(user, user % 2 + 0.0, NOTHING) for user in range(60)] + [(user, 3.0, 0) for user in range(1, 60, 3)]


def test_what_users_miss_when_it_is_dear_is_fetched_before() -> None:
    prewarms = prewarms_of(user_events(THIRD), QUIET_THEN_FULL, ECONOMICS, BUDGET, CLASSES)
    assert (prewarms.slots.tolist(), prewarms.ends.tolist(), prewarms.prices.tolist()) == ([0], [2], [1.0])
    assert prewarms.chances[0, :, 0] == pytest.approx([20 / 80, (20 + 5) / 40, 5 / 40])
    assert prewarms.chosen(ECONOMICS, BUDGET)[0].tolist() == [[True, False, False]] * 3


def test_where_all_ask_in_one_minute_the_price_rises_until_they_fit() -> None:
    """Forty calls are expected in the two minutes, so as many users, who have 70 calls in the first to share."""
    load = loaded([20.0, 20.0, 100.0, 100.0])
    at_once = [(user, 0.0, NOTHING) for user in range(60)]
    missed = [(user, 3.0, 0) for user in range(0, 60, 2)] + [(user, 3.0, 1) for user in range(0, 60, 6)]
    wide = Budget(3, 1e9)
    prewarms = prewarms_of(user_events(at_once + missed), load, ECONOMICS, wide, CLASSES)
    assert prewarms.prices[0] == pytest.approx(5 / 80 * 30.0), "what charts are worth to classes 1 and 2"
    assert prewarms.chosen(ECONOMICS, wide)[0].tolist() == [[True, True, False], *[[True, False, False]] * 2]
    spread = [(user, float(user % 2), NOTHING) for user in range(60)]
    prewarms = prewarms_of(user_events(spread + missed), load, ECONOMICS, wide, CLASSES)
    assert prewarms.prices.tolist() == [1.0], "half of the users in each minute: all of it fits"
    assert prewarms.chosen(ECONOMICS, wide)[0].tolist() == [[True, True, False]] * 3


def test_without_anybody_active_or_anything_missed_nothing_is_fetched() -> None:
    for events in ([], [(1, 0.0, NOTHING)], [(1, 3.0, 0)]):
        prewarms = prewarms_of(user_events(events), QUIET_THEN_FULL, ECONOMICS, BUDGET, CLASSES)
        assert prewarms.chances.shape == (0, CLASSES, len(APPS)) and not len(prewarms.slots)
    even = loaded([30.0] * 8)
    assert not len(prewarms_of(user_events(THIRD), even, ECONOMICS, BUDGET, CLASSES).slots), "nothing is dear"
