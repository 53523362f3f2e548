"""The oracle against docs/marts.md, sentence by sentence: the views."""

import pytest
from hypothesis import given, settings

from usage_analytics_tests.warehouse.event_examples import DAY, LI, MARY, at, made
from usage_analytics_tests.warehouse.event_strategies import MANY_DAYS, uses_over_many_days
from usage_analytics_tests.warehouse.session_oracle import Event, bucket
from usage_analytics_tests.warehouse.view_oracle import (
    expected_app_adoption,
    expected_latency_percentiles,
    expected_retention,
    expected_stickiness,
    middle,
)

OTHER = "f" * 64


def used(mini_app: str, user: str, *days: int) -> list[Event]:
    """An event on each of the days of these numbers."""
    return [at(0, mini_app, MANY_DAYS[number], user_id=user) for number in days]


def test_who_can_return_has_five_later_trading_days() -> None:
    events = made(
        *used("a", MARY, 0, 5, 6), *used("a", LI, 1, 7), *used("a", OTHER, 2, 3), *used("always", OTHER, *range(7)),
        *used("b", MARY, 6),
    )  # fmt: skip
    # Eight days: 0 to 7. Mary came back on the fifth day; Li on the sixth only; the third user could, and did.
    assert expected_app_adoption(events) == {
        ("a", 3, MANY_DAYS[0], 3, 2), ("always", 1, MANY_DAYS[0], 1, 1), ("b", 1, MANY_DAYS[6], 0, 0),
    }  # fmt: skip
    # Without the last, four days follow the third user's first: too few.
    fewer = [event for event in events if event.trading_day < MANY_DAYS[7]]
    assert ("a", 3, MANY_DAYS[0], 2, 1) in expected_app_adoption(fewer)


def test_trading_days_are_those_with_events_whatever_the_calendar_says() -> None:
    events = made(*used("a", MARY, 0, 3, 9), *used("a", LI, 3))
    assert expected_retention(events) == {
        ("a", MANY_DAYS[0], 0, 1), ("a", MANY_DAYS[0], 1, 1), ("a", MANY_DAYS[0], 2, 1), ("a", MANY_DAYS[3], 0, 1),
    }  # fmt: skip


def test_retention_counts_users_of_a_cohort_once_a_day() -> None:
    events = made(*used("a", MARY, 0, 0, 1), *used("a", LI, 0, 2), *used("b", LI, 1))
    assert expected_retention(events) == {
        ("a", MANY_DAYS[0], 0, 2), ("a", MANY_DAYS[0], 1, 1), ("a", MANY_DAYS[0], 2, 1), ("b", MANY_DAYS[1], 0, 1),
    }  # fmt: skip


def test_stickiness_looks_back_over_twenty_trading_days() -> None:
    events = made(*used("a", MARY, *range(22)), *used("a", LI, 1), *used("b", LI, 1))
    rows = {(row.trading_day, row.mini_app): row[2:] for row in expected_stickiness(events)}
    assert rows[MANY_DAYS[0], "a"] == (1, 1)
    assert rows[MANY_DAYS[1], "a"] == (2, 2)
    assert rows[MANY_DAYS[20], "a"] == (1, 2)
    assert rows[MANY_DAYS[21], "a"] == (1, 1)
    assert [day for day, mini_app in rows if mini_app == "b"] == [MANY_DAYS[1]]


def test_percentiles_are_the_middles_of_the_buckets_in_which_the_shares_are_reached() -> None:
    latencies = [0.007] * 50 + [37.001] * 40 + [1_000.0] * 9 + [99_999.0]
    events = made(*(at(n, latency_ms=latency) for n, latency in enumerate(latencies)), at(200, action="untimed"))
    assert expected_latency_percentiles(events) == {(DAY, "quotes", None, 7, 37_500, 1_050_000)}
    # One of the first less, and 49, 89, 98 of 99 reach none of the shares: each is reached a bucket later.
    assert expected_latency_percentiles(events[1:]) == {(DAY, "quotes", None, 37_500, 1_050_000, 99_500_000)}
    assert expected_latency_percentiles(made(at(0, latency_ms=0.0, action="x"))) == {(DAY, "quotes", "x", 0, 0, 0)}


@pytest.mark.parametrize("latency_us", [0, 9, 10, 42, 99, 100, 37_512, 10**15 + 1])
def test_the_middle_is_in_the_bucket(latency_us: int) -> None:
    assert bucket(middle(bucket(latency_us))) == bucket(latency_us)


def test_an_event_sent_again_is_no_use() -> None:
    once = used("a", MARY, 0)[0]
    twice = made(at(0, "a", MANY_DAYS[0], event_id="x"), at(0, "b", MANY_DAYS[0], event_id="x"))
    assert expected_app_adoption(twice) == expected_app_adoption(made(once))
    assert expected_stickiness(twice) == expected_stickiness(made(once))


@given(uses_over_many_days())
@settings(max_examples=20)
def test_the_views_agree(events: list[Event]) -> None:
    cohorts = {(row.mini_app, row.cohort_day): row.users for row in expected_retention(events) if row.age == 0}
    for row in expected_app_adoption(events):
        assert row.tried == sum(users for (mini_app, _), users in cohorts.items() if mini_app == row.mini_app)
        assert row.first_day == min(day for mini_app, day in cohorts if mini_app == row.mini_app)
        assert 0 <= row.retained <= row.could_return <= row.tried
    assert all(row.users <= row.users_of_20_days for row in expected_stickiness(events))
