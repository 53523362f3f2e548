"""The oracle against docs/marts.md, sentence by sentence: session events, user sessions, visits, latencies, buckets."""

import math
from dataclasses import replace

import pytest

from usage_analytics_tests.warehouse.event_examples import DAY, LI, MARY, NEXT_DAY, at, made, us
from usage_analytics_tests.warehouse.session_oracle import (
    Event,
    UserSession,
    bucket,
    each_event_once,
    events_of_users,
    user_sessions,
)


def only_session(*events: Event) -> UserSession:
    (session,) = user_sessions(made(*events))
    return session


def seconds(sessions: list[UserSession]) -> list[list[float]]:
    return [[(event.event_time_us - us(0)) / 1e6 for event in session.events] for session in sessions]


@pytest.mark.parametrize(
    ("first", "later"),
    [(("a", 9, 9), ("b", 0, 0)), (("a", 1, 9), ("a", 2, 0)), (("a", 1, 8), ("a", 1, 9))],
    ids=["topic", "kafka partition", "offset"],
)
def test_of_several_with_one_id_the_first_on_kafka_counts(
    first: tuple[str, int, int], later: tuple[str, int, int]
) -> None:
    # The one that counts is the later by event time, and has other contents.
    kept, dropped = (
        at(second, mini_app, event_id="a", topic=topic, kafka_partition=number, kafka_offset=offset)
        for second, mini_app, (topic, number, offset) in ((9, "quotes", first), (1, "chart", later))
    )
    assert each_event_once([kept, dropped]) == each_event_once([dropped, kept]) == [kept]


def test_another_user_or_day_with_the_same_id_is_another_event() -> None:
    events = made(*(at(1, event_id="a", user_id=user, day=day) for user in (MARY, LI) for day in (DAY, NEXT_DAY)))
    assert each_event_once(events) == events


def test_a_users_events_are_ordered_by_time_then_by_their_place_on_kafka() -> None:
    b = at(5, event_id="b", kafka_partition=2)
    c, d = at(5, event_id="c", kafka_partition=1, kafka_offset=4), at(5, event_id="d", kafka_partition=1)
    z = at(5, event_id="z", topic="clacks", kafka_partition=3)
    a = at(4, event_id="a", kafka_partition=9)
    assert events_of_users([b, c, d, z, a]) == {(DAY, MARY): [a, z, d, c, b]}


def test_half_an_hour_without_events_ends_a_user_session() -> None:
    just_before = at(1800, event_time_us=us(1800) - 1)
    assert seconds(list(user_sessions(made(at(0), just_before)))) == [[0, 1799.999999]]
    sessions = list(user_sessions(made(at(0), at(1800), at(3599), at(9000))))
    assert seconds(sessions) == [[0], [1800, 3599], [9000]]
    assert [session.number for session in sessions] == [1, 2, 3]


def test_user_sessions_are_numbered_within_user_and_day_and_end_with_the_day() -> None:
    events = made(at(86_399), at(0, day=NEXT_DAY), at(86_399, user_id=LI))
    found = {(s.trading_day, s.user_id, s.number, len(s.events)) for s in user_sessions(events)}
    assert found == {(DAY, MARY, 1, 1), (NEXT_DAY, MARY, 1, 1), (DAY, LI, 1, 1)}


def test_a_visit_is_a_run_of_events_in_one_mini_app() -> None:
    session = only_session(at(0), at(1), at(2, "chart"), at(3), at(3, "Quotes"))
    assert [[event.mini_app for event in visit] for visit in session.visits()] == [
        ["quotes", "quotes"], ["chart"], ["quotes"], ["Quotes"],
    ]  # fmt: skip


def test_dwell_is_the_time_until_the_next_event_of_the_user_session() -> None:
    sessions = user_sessions(made(at(0), at(2), at(2), at(1802)))
    assert [[session.dwell_us(n) for n in range(len(session.events))] for session in sessions] == [
        [2_000_000, 0, None], [None],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("latency_ms", "latency_us"),
    [
        (None, None), (-1.0, None), (-0.0001, None), (-5e-324, None), (-0.0, 0), (0.0, 0), (0.0009, 0), (0.001, 1),
        (37.5129, 37_512), (0.29, 290), (1.001, 1_000), (1_800_000.0, 1_800_000_000), (1_800_000.1, None),
        (1e12, None), (1e308, None),
    ],
)  # fmt: skip
def test_latencies_are_whole_microseconds_rounded_down(latency_ms: float | None, latency_us: int | None) -> None:
    assert replace(at(0), latency_ms=latency_ms).latency_us == latency_us


@pytest.mark.parametrize(
    ("payload_bytes", "whole_bytes"),
    [
        (None, None), (-1.0, None), (-5e-324, None), (-0.0, 0), (0.0, 0), (0.999, 0), (1.0, 1), (4_096.5, 4_096),
        (2.0**30, 2**30), (2**30 + 0.001, None), (1e308, None), (math.inf, None), (math.nan, None),
    ],
)  # fmt: skip
def test_payloads_are_whole_bytes_rounded_down(payload_bytes: float | None, whole_bytes: int | None) -> None:
    assert replace(at(0), payload_bytes=payload_bytes).whole_bytes == whole_bytes


@pytest.mark.parametrize(
    ("latency_us", "number"),
    [
        (0, 100), (1, 101), (9, 109), (10, 210), (99, 299), (100, 310), (109, 310), (110, 311), (999, 399),
        (37_000, 537), (37_512, 537), (37_999, 537), (38_000, 538), (10**15 - 1, 1599), (10**15, 1610),
    ],
)  # fmt: skip
def test_a_bucket_is_the_first_two_digits_and_the_length(latency_us: int, number: int) -> None:
    assert bucket(latency_us) == number


@pytest.mark.parametrize(
    ("first", "second", "abandoned"),
    [
        (at(0, latency_ms=2_000.001), at(2, "chart"), True),
        (at(0, latency_ms=2_000.0), at(2, "chart"), False),  # the answer came as the user left
        (at(0, latency_ms=2_000.0009), at(2, "chart"), False),  # latencies are whole microseconds
        (at(0, latency_ms=9_000.0), at(2, "quotes", action="other"), False),
        (at(0, latency_ms=None), at(2, "chart"), False),
        (at(0, latency_ms=-9_000.0), at(2, "chart"), False),
        (at(0, latency_ms=3_600_000.0), at(1800, "chart"), False),  # in another user session
        (at(0, latency_ms=0.001), at(0, "chart"), True),
        (at(0, latency_ms=0.0), at(0, "chart"), False),
    ],
)
def test_an_event_is_abandoned_for_another_mini_app_before_the_answer(
    first: Event, second: Event, abandoned: bool
) -> None:
    session = next(user_sessions(made(first, second)))
    assert session.is_abandoned(0) == abandoned
    assert not session.is_abandoned(len(session.events) - 1)


@pytest.mark.parametrize(
    ("first", "second", "repeat"),
    [
        (at(0, action="a", screen="s"), at(4.999999, action="a", screen="s"), True),
        (at(0, action="a", screen="s"), at(5, action="a", screen="s"), False),
        (at(0), at(0), True),  # missing actions and screens are the same as each other
        (at(0, action="a"), at(1, action=None), False),
        (at(0, action=""), at(1, action=None), False),
        (at(0, screen="s"), at(1, screen="S"), False),
        (at(0, "quotes"), at(1, "chart"), False),
        (at(0, client_firm="x", latency_ms=1.0), at(1, client_firm="y"), True),
    ],
)
def test_an_event_is_a_repeat_if_the_one_before_it_is_the_same_and_less_than_five_seconds_old(
    first: Event, second: Event, repeat: bool
) -> None:
    session = only_session(first, second)
    assert (session.is_repeat(0), session.is_repeat(1)) == (False, repeat)


def test_an_event_in_between_makes_no_repeat() -> None:
    session = only_session(at(0), at(1, "chart"), at(2))
    assert not any(session.is_repeat(index) for index in range(3))
