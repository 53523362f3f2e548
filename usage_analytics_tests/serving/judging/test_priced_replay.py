"""What preloads and pre-warms of a day would have brought, by hand, and as the replay at one price has it."""

from __future__ import annotations

import numpy as np
import pytest

from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.prewarms import Prewarms, UserEvents
from usage_analytics.serving.decisions.priced_moments import PricedDay
from usage_analytics.serving.decisions.session_moments import known_moments
from usage_analytics.serving.judging.policies import ExpectedValue
from usage_analytics.serving.judging.priced_replay import replay_preloads, replay_prewarms, usage_by_minute
from usage_analytics.serving.judging.replay import replay
from usage_analytics_tests.serving.decisions.test_priced_moments import (
    BEGAN_US,
    CHART,
    CHAT,
    DAY,
    MINUTE_US,
    QUOTES,
    WALKS,
    batch,
)
from usage_analytics_tests.serving.small_models import APPS

ECONOMICS = Economics(APPS, np.array([100.0, 300.0, 50.0, 90_000.0]), np.full(4, 15.0), np.zeros(4))
BUDGET = Budget(2, 1e9)
SESSIONS = [
    batch(("mary", [(-1.0, QUOTES), (1.0, CHART), (2.0, CHAT)]), ("joe", [(2.5, QUOTES), (2.6, CHART), (2.7, CHART)])),
    batch(("mary", [(5.0, CHART), (5.1, QUOTES), (6.5, CHART)])),
]


def test_at_one_price_it_is_what_the_replay_of_moments_says() -> None:
    for price in (1.0, 2.0):
        flat = PricedDay(BEGAN_US - 100 * MINUTE_US, 60, np.full(4, price))
        found = replay_preloads(WALKS, SESSIONS, flat, ECONOMICS, BUDGET)
        moments = known_moments(WALKS, SESSIONS)
        moments.moments.price[:] = price
        expected = replay(ExpectedValue(ECONOMICS, BUDGET), moments, ECONOMICS, BUDGET)
        told = [float(each.sum()) for each in (found.calls, found.hits, found.saved_ms, found.cost_ms)]
        assert told == pytest.approx([expected.calls, expected.hits, expected.saved_ms, expected.cost_ms])
        assert found.hits.sum() > 0 and found.net_ms == pytest.approx(expected.saved_ms - expected.cost_ms)


def test_calls_are_of_the_minute_that_asks_and_hits_of_the_one_that_opens() -> None:
    found = replay_preloads(WALKS, SESSIONS, DAY, ECONOMICS, Budget(1, 1e9), PricedDay(BEGAN_US, 2, np.full(3, 3.0)))
    asked, opened = found.calls.astype(int).tolist(), found.hits.astype(int).tolist()
    assert len(asked) == 7 and asked[0] == 0 and asked[-1] == 1, "outside of all slots comes last"
    assert opened[1] == 1, "the chart, of which was asked before the first slot"
    assert found.cost_ms[2] == pytest.approx(found.calls[2] * 15.0 * 3.0), "charged at another price than decides"


def test_usage_is_counted_by_the_minute() -> None:
    events, waiting_ms = usage_by_minute(SESSIONS, DAY, ECONOMICS)
    assert events.tolist() == [0, 1, 4, 0, 0, 2, 2]
    assert waiting_ms.tolist() == [0, 300, 50 + 90_000 + 300, 0, 0, 300 + 90_000, 90_000 + 300], "to stay waits not"


def test_what_is_fetched_ahead_serves_the_first_opening_that_nothing_preloads() -> None:
    """Three users, the third of another class, which fetches nothing; both others ask at their first event."""
    rows = [
        # user, class, seconds, missed
        (0, 1, 30, -1), (0, 1, 20, 1), (0, 1, 130, 1), (0, 1, 140, 1), (0, 1, 150, 3),
        (1, 1, 119, -1), (1, 1, 119.1, 1), (1, 1, 241, 3),
        (2, 0, 10, -1), (2, 0, 130, 1),
        (3, 1, 125, -1), (3, 1, 130, 1),
    ]  # fmt: skip
    user, user_class, seconds, missed = (np.array(column) for column in zip(*rows, strict=True))
    events = UserEvents(user.astype(np.int64), user_class.astype(np.int64), (seconds * 1e6).astype(np.int64),
                        missed.astype(np.int64))  # fmt: skip
    chances = np.array([[[0.0] * 4, [0.0, 0.5, 0.0, 0.5]]])
    prewarms = Prewarms(np.array([0]), np.array([2]), np.array([1.5]), chances)
    found = replay_prewarms(events, prewarms, DAY, ECONOMICS, BUDGET)
    assert found.calls.tolist() == [2, 2, 0, 0, 0, 0, 0], "two users fetch two each"
    assert found.cost_ms.tolist() == [45, 45, 0, 0, 0, 0, 0], "at the price of fetching ahead"
    assert found.hits.tolist() == [0, 1, 2, 0, 0, 0, 0], "not before it is asked, once each, and not after the end"
    assert found.saved_ms == pytest.approx([0, 100, 300 + 90_000, 0, 0, 0, 0]), "no more than the time that has passed"
    assert found.net_ms == pytest.approx(90_400 - 90)
