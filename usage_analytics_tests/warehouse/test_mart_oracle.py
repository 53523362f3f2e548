"""The oracle against docs/marts.md, sentence by sentence: the tables."""

from collections.abc import Callable

from hypothesis import given, settings

from usage_analytics_tests.warehouse.event_examples import DAY, LI, MARY, NEXT_DAY, at, made, us
from usage_analytics_tests.warehouse.event_strategies import event_lists
from usage_analytics_tests.warehouse.mart_oracle import (
    Row,
    differences,
    expected_app_transitions,
    expected_co_use,
    expected_friction,
    expected_latency_histogram,
    expected_paths,
    expected_usage_series,
    expected_user_profiles,
    expected_user_sessions,
)
from usage_analytics_tests.warehouse.session_oracle import Event, each_event_once

FOLDS = {MARY: 3, LI: 7}
TABLES: tuple[Callable[[list[Event]], set[Row]], ...] = (
    expected_user_sessions, lambda events: expected_app_transitions(events, FOLDS.get), expected_user_profiles,
    expected_usage_series, expected_co_use, expected_paths, expected_friction, expected_latency_histogram,
)  # fmt: skip


def test_user_sessions() -> None:
    events = made(
        at(0, "quotes", client_firm="b", action="error"), at(1, "chart", client_firm=None), at(5, "quotes"),
        at(7, "news", client_firm="a", action="Error"), at(4000, "news"),
    )  # fmt: skip
    assert expected_user_sessions(events) == {
        (DAY, MARY, 1, "a", us(0), us(7), 4, 3, "quotes", "news", 1),
        (DAY, MARY, 2, None, us(4000), us(4000), 1, 1, "news", "news", 0),
    }


def test_errors_are_events_of_the_actions_that_are_set() -> None:
    events = made(at(0, action="error"), at(1, action="fail"), at(2, action="crash"), at(3, action=None))
    errors = frozenset({"fail", "crash"})
    assert {row[-1] for row in expected_user_sessions(events, errors)} == {2}
    assert {row[-1] for row in expected_user_profiles(events, errors)} == {2}
    assert {row[-1] for row in expected_usage_series(events, errors)} == {2}
    assert sorted((row[2] or "", row[6]) for row in expected_friction(events, errors)) == [
        ("", 0), ("crash", 1), ("error", 0), ("fail", 1),
    ]  # fmt: skip
    assert {row[-1] for row in expected_user_sessions(events)} == {1}


def test_app_transitions() -> None:
    events = made(
        at(0, "a", latency_ms=1.0), at(1, "b"), at(3, "a", latency_ms=0.0), at(7, "a", latency_ms=2.5),
        at(8, "a", latency_ms=-1.0), at(9000, "a"), at(9001, "b", latency_ms=4.0),
        at(100, "a", user_id=LI),
    )  # fmt: skip
    assert expected_app_transitions(events, FOLDS.get) == {
        (DAY, 3, None, None, None, "a", 2, 0, 1, 1_000),  # the beginnings of both user sessions
        (DAY, 3, None, None, "a", "b", 2, 2_000_000, 1, 4_000),
        (DAY, 3, None, "a", "b", "a", 1, 2_000_000, 1, 0),
        (DAY, 3, "a", "b", "a", "a", 1, 4_000_000, 1, 2_500),
        (DAY, 3, "b", "a", "a", "a", 1, 1_000_000, 0, 0),
        (DAY, 7, None, None, None, "a", 1, 0, 0, 0),
    }


def test_user_profiles() -> None:
    events = made(
        at(0, "a"),
        at(1, "b"),
        at(3, "a", action="error"),
        at(7, "a"),
        at(9000, "a"),
        at(9010, "a"),
        at(1, "a", user_id=LI),
    )
    assert expected_user_profiles(events) == {
        (DAY, MARY, "a", 5, 3, 2, 1_000_000 + 4_000_000 + 10_000_000, 1),
        (DAY, MARY, "b", 1, 1, 1, 2_000_000, 0),
        (DAY, LI, "a", 1, 1, 1, 0, 0),
    }


def test_usage_series() -> None:
    events = made(
        at(0, "a"),
        at(59, "a", event_time_us=us(60) - 1, action="error"),
        at(30, "a", user_id=LI),
        at(60, "a"),
        at(60, "b"),
    )
    assert expected_usage_series(events) == {
        (DAY, us(0), "a", 3, 2, 1), (DAY, us(60), "a", 1, 1, 0), (DAY, us(60), "b", 1, 1, 0),
    }  # fmt: skip


def test_co_use() -> None:
    both = [at(second, mini_app, user_id=LI) for second, mini_app in ((0, "b"), (1, "a"), (9000, "b"))]
    events = made(*both, at(0, "a"), at(1, "B"), at(0, "c", NEXT_DAY))
    assert expected_co_use(events) == {
        (DAY, "a", "a", 2), (DAY, "b", "b", 1), (DAY, "B", "B", 1), (DAY, "a", "b", 1), (DAY, "B", "a", 1),
        (NEXT_DAY, "c", "c", 1),
    }  # fmt: skip


def test_paths() -> None:
    long = [at(second, mini_app) for second, mini_app in enumerate("aabacad")]
    same = [at(second, mini_app, user_id=LI) for second, mini_app in enumerate("abacax")]
    alone = [at(9000, "a"), at(9001, "a"), at(0, "a", NEXT_DAY)]
    assert expected_paths(made(*long, *same, *alone)) == {
        (DAY, "a", "b", "a", "c", "a", 2),
        (DAY, "a", None, None, None, None, 1),
        (NEXT_DAY, "a", None, None, None, None, 1),
    }


def test_friction() -> None:
    events = made(
        at(0, "a", latency_ms=1.0, payload_bytes=10.9), at(4, "a"), at(5, "a", latency_ms=1_500.0, payload_bytes=1.9),
        at(6, "b", action="error", payload_bytes=0.0), at(7, "b", action="error", latency_ms=-1.0),
        at(8, "b", latency_ms=9_000.0, payload_bytes=-1.0),
    )  # fmt: skip
    assert expected_friction(events) == {
        (DAY, "a", None, 3, 2, 1_501_000, 0, 1, 2, 2, 11),
        (DAY, "b", "error", 2, 0, 0, 2, 0, 1, 1, 0),
        (DAY, "b", None, 1, 1, 9_000_000, 0, 0, 0, 0, 0),
    }


def test_latency_histogram() -> None:
    latencies = (37.0, 37.999, 38.0, None, -1.0, 0.0005)
    events = made(*(at(second, latency_ms=latency) for second, latency in enumerate(latencies)), at(9, action="x"))
    assert expected_latency_histogram(events) == {
        (DAY, "quotes", None, 537, 2), (DAY, "quotes", None, 538, 1), (DAY, "quotes", None, 100, 1),
    }  # fmt: skip


def test_each_event_counts_once_in_each_table() -> None:
    once = made(at(0, "a", latency_ms=1.0), at(1, "b", action="x"))
    again = [*once, at(0.5, "c", latency_ms=3.0, action="error", event_id="e0", kafka_partition=1, kafka_offset=8)]
    for expected in TABLES:
        assert expected(again) == expected(once)


def test_differences_name_rows_that_are_missing_not_expected_or_there_twice() -> None:
    assert differences([(1, None)], {(1, None)}) == []
    assert differences([(1, None), (1, None), (2, "b")], {(1, None), (3, "c")}) == [
        "2 times: (1, None)", "missing: (3, 'c')", "not expected: (2, 'b')",
    ]  # fmt: skip


@given(event_lists())
@settings(max_examples=20)
def test_the_tables_agree_on_how_many_events_there_are(events: list[Event]) -> None:
    count = len(each_event_once(events))
    sessions, profiles = expected_user_sessions(events), expected_user_profiles(events)
    transitions = expected_app_transitions(events, FOLDS.get)
    assert {sum(row[6] for row in rows) for rows in (sessions, transitions)} == {count}
    counted = profiles, expected_usage_series(events), expected_friction(events)
    assert {sum(row[3] for row in rows) for rows in counted} == {count}
    assert sum(row[6] for row in expected_paths(events)) == len(sessions)
    spent = sum(row[5] - row[4] for row in sessions)
    assert sum(row[6] for row in profiles) == sum(row[7] for row in transitions) == spent


@given(event_lists())
@settings(max_examples=20)
def test_a_trading_day_is_made_from_its_own_events_alone(events: list[Event]) -> None:
    for expected in TABLES:
        for day in {event.trading_day for event in events}:
            of_day = [event for event in events if event.trading_day == day]
            assert expected(of_day) == {row for row in expected(events) if row[0] == day}
