"""The strategies give what they promise: events that can be on Kafka and load, and each adversarial case."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, find, given, settings

from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.warehouse.event_examples import at, made
from usage_analytics_tests.warehouse.event_strategies import DAY_US, event_lists, events_and_funnels, midnight_us
from usage_analytics_tests.warehouse.event_tables import as_chunks, as_table
from usage_analytics_tests.warehouse.funnel_oracle import expected_funnels
from usage_analytics_tests.warehouse.session_oracle import GAP_US, Event, each_event_once, user_sessions

WINDOWS = "2026-11-23T1000", "2026-11-23T1015"
SEARCH = settings(max_examples=200, database=None, phases=[Phase.generate])


@given(event_lists())
@settings(max_examples=20)
def test_each_event_is_on_its_trading_day_and_has_a_place_of_its_own(events: list[Event]) -> None:
    assert len({event.position for event in events}) == len(events)
    for topic, kafka_partition in {event.position[:2] for event in events}:
        offsets = [event.kafka_offset for event in events if event.position[:2] == (topic, kafka_partition)]
        assert sorted(offsets) == list(range(len(offsets)))
    assert all(0 <= event.event_time_us - midnight_us(event.trading_day) < DAY_US for event in events)
    assert all(len(event.user_id) == 64 and int(event.user_id, 16) >= 0 for event in events)


def gap(events: list[Event], gap_us: int) -> bool:
    of_user: dict[str, list[int]] = {}
    for event in each_event_once(events):
        of_user.setdefault(event.user_id, []).append(event.event_time_us)
    return any(gap_us in (b - a for a, b in zip(sorted(t), sorted(t)[1:], strict=False)) for t in of_user.values())


def sent_twice(events: list[Event], is_same: bool) -> bool:
    seen: dict[tuple[object, ...], list[Event]] = {}
    for event in events:
        seen.setdefault((event.trading_day, event.user_id, event.event_id), []).append(event)
    return any((one.mini_app == other.mini_app) == is_same for same in seen.values() for one in same for other in same
               if one.position != other.position)  # fmt: skip


def same_instant_elsewhere(events: list[Event]) -> bool:
    places = {(e.trading_day, e.user_id, e.event_time_us, e.kafka_partition) for e in each_event_once(events)}
    return max(Counter(place[:3] for place in places).values()) > 1


def answered_as_left(events: list[Event], off: int) -> bool:
    sessions = list(user_sessions(events))
    pairs = [(s.dwell_us(n), e.latency_us) for s in sessions for n, e in enumerate(s.events)]
    return any(dwell and latency is not None and latency - dwell == off for dwell, latency in pairs)


CASES: dict[str, Callable[[list[Event]], bool]] = {
    "gap of half an hour": lambda events: gap(events, GAP_US),
    "gap of a microsecond less": lambda events: gap(events, GAP_US - 1),
    "gap of a microsecond more": lambda events: gap(events, GAP_US + 1),
    "message redelivered": lambda events: sent_twice(events, True),
    "id with other contents": lambda events: sent_twice(events, False),
    "id of two users": lambda events: any(
        a.event_id == b.event_id and a.user_id != b.user_id for a in events for b in events
    ),
    "id on two days": lambda events: any(
        a.event_id == b.event_id and a.trading_day != b.trading_day and a.user_id == b.user_id
        for a in events for b in events
    ),
    "same instant in two Kafka partitions": same_instant_elsewhere,
    "answer as the user left": lambda events: answered_as_left(events, 0),
    "answer just after the user left": lambda events: answered_as_left(events, 1),
    "abandoned": lambda events: any(s.is_abandoned(n) for s in user_sessions(events) for n in range(len(s.events))),
    "repeat": lambda events: any(s.is_repeat(n) for s in user_sessions(events) for n in range(len(s.events))),
    "less than a microsecond": lambda events: any(0 < (event.latency_ms or 0) < 0.001 for event in events),
    "payload beyond what is counted": lambda events: any((event.payload_bytes or 0) > 2**30 for event in events),
    "part of a byte": lambda events: any((event.payload_bytes or 0) % 1 > 0 for event in events),
    "four days": lambda events: len({event.trading_day for event in events}) == 4,
    "six visits": lambda events: any(len(session.visits()) > 5 for session in user_sessions(events)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_drawn(case: str) -> None:
    find(event_lists(), CASES[case], settings=SEARCH, random=Random(1))


def test_users_get_to_the_last_of_several_steps() -> None:
    find(
        events_and_funnels(),
        lambda drawn: any(row[2] >= 4 and row[3] > 0 for row in expected_funnels(*drawn)),
        settings=SEARCH,
        random=Random(1),
    )


def test_events_load_as_they_are(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    measured = [{"latency_ms": n / 7, "payload_bytes": n / 3} for n in range(9)]
    events = made(*(at(n, "größe 'x'", kafka_partition=n % 2, action=None, **each) for n, each in enumerate(measured)))
    assert as_table(events).num_rows == 9
    windows = as_chunks(events, memory_path, lambda event: WINDOWS[event.kafka_offset >= 3])
    assert sorted(windows) == sorted(WINDOWS)
    for window in WINDOWS:
        warehouse.load_window("clicks", window, windows[window])
    names = ", ".join(Event.__dataclass_fields__)
    found = warehouse.read(f"SELECT {names} FROM usage_events").rows()
    assert {Event(*row) for row in found} == set(events)
