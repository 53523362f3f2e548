"""The marts equal a plain-Python oracle, in any order of arrival; made bit by bit they equal those made at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from closing import ALL_MARTS, close_stale_days, refresh, stale_days
from fakes import TOPIC, enriched_chunk, memory_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.warehouse.duckdb import session as duckdb_session
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics.warehouse.transitions import transition_counts_by
from usage_analytics.warehouse.user_slices import UserSlice, slices_of_users
from usage_analytics_tests.warehouse.against_oracle import (
    WINDOWS,
    assert_equals_oracle,
    assert_receipts_equal_oracle,
    assert_views_equal_oracle,
    load,
    rules_of,
    windows_of,
)
from usage_analytics_tests.warehouse.event_examples import DAY, NEXT_DAY, at, made
from usage_analytics_tests.warehouse.event_strategies import (
    FORTY_STEPS,
    event_lists,
    events_and_funnels,
    events_of_forty_steps,
    uses_over_many_days,
)
from usage_analytics_tests.warehouse.event_tables import as_chunks
from usage_analytics_tests.warehouse.funnel_oracle import Funnel, Step
from usage_analytics_tests.warehouse.session_oracle import Event

DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
USERS = [digits + "0" * 62 for digits in ("01", "4a", "a0", "f7")]


@contextmanager
def by_slices_of_users() -> Iterator[None]:
    """As if a few events took all the memory there is."""
    with patch.object(duckdb_session, "MARTS_BYTES_PER_EVENT", 10**9):
        yield


def test_a_day_that_needs_more_memory_is_worked_through_by_slices_of_users() -> None:
    one, four = slices_of_users(1), slices_of_users(4)
    assert one == [UserSlice()]
    assert [(each.values.get("lowest_user"), each.values.get("next_user")) for each in four] == [
        (None, "40"), ("40", "80"), ("80", "c0"), ("c0", None),
    ]  # fmt: skip
    assert len(slices_of_users(1_000)) == 256


def marts_equal_the_oracle(data: st.DataObject, drawn: tuple[list[Event], list[Funnel]], order: list[str]) -> None:
    events, funnels = drawn
    rules = rules_of(funnels)
    with memory_folder() as folder:
        chunks = as_chunks(events, Path(folder), data.draw(windows_of(events)))
        incremental = DuckDBWarehouse(Path(folder) / "incremental.duckdb")
        for window in WINDOWS:
            mine = chunks.get(window, [])
            incremental.load_window(TOPIC, window, mine[: len(mine) // 2])
            if window == WINDOWS[1]:
                close_stale_days(incremental, rules)  # from half a window; the rest, and late events, come after
            incremental.load_window(TOPIC, window, mine)
        close_stale_days(incremental, rules)
        rebuilt = DuckDBWarehouse(Path(folder) / "rebuilt.duckdb")
        load(rebuilt, chunks, order)
        with by_slices_of_users():
            receipts = close_stale_days(rebuilt, rules)
        assert_receipts_equal_oracle(receipts, events)
        for warehouse in (incremental, rebuilt):
            assert_equals_oracle(warehouse, events, funnels)
            assert stale_days(warehouse, rules) == []


@settings(max_examples=3)
@given(data=st.data(), drawn=events_and_funnels(), order=st.permutations(WINDOWS))
def test_marts_equal_the_oracle_and_incremental_equals_rebuilt(
    data: st.DataObject, drawn: tuple[list[Event], list[Funnel]], order: list[str]
) -> None:
    marts_equal_the_oracle(data, drawn, order)


@pytest.mark.slow
@settings(max_examples=20)
@given(data=st.data(), drawn=events_and_funnels(), order=st.permutations(WINDOWS))
def test_marts_equal_the_oracle_again_and_again(
    data: st.DataObject, drawn: tuple[list[Event], list[Funnel]], order: list[str]
) -> None:
    marts_equal_the_oracle(data, drawn, order)


@settings(max_examples=2)
@given(events=uses_over_many_days())
def test_views_over_many_days_equal_the_oracle(events: list[Event]) -> None:
    with memory_folder() as folder:
        warehouse = DuckDBWarehouse(Path(folder) / "warehouse.duckdb")
        load(warehouse, as_chunks(events, Path(folder), lambda event: WINDOWS[0]))
        close_stale_days(warehouse)
        assert_views_equal_oracle(warehouse, events)


@settings(max_examples=5)
@given(events=event_lists())
def test_views_equal_the_oracle(events: list[Event]) -> None:
    with memory_folder() as folder:
        warehouse = DuckDBWarehouse(Path(folder) / "warehouse.duckdb")
        load(warehouse, as_chunks(events, Path(folder), lambda event: WINDOWS[0]))
        close_stale_days(warehouse)
        assert_views_equal_oracle(warehouse, events)


def test_a_funnel_of_forty_steps(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    events = events_of_forty_steps()
    load(warehouse, as_chunks(events, memory_path, lambda event: WINDOWS[0]))
    close_stale_days(warehouse, rules_of([FORTY_STEPS]))
    found = warehouse.read("SELECT step, users FROM funnels ORDER BY step").rows()
    assert [step for step, _ in found] == list(range(1, 41))
    assert_equals_oracle(warehouse, events, [FORTY_STEPS])


def test_a_funnel_may_take_a_fraction_of_a_second(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    events = made(at(0, "a"), at(1.001, "b"))  # 1.001 times a million is a little less than 1001000, to a float
    load(warehouse, as_chunks(events, memory_path, lambda event: WINDOWS[0]))
    in_time, late = (Funnel(str(within_s), within_s, (Step("a"), Step("b"))) for within_s in (1.001, 1.000999))
    close_stale_days(warehouse, rules_of([in_time, late]))
    assert_equals_oracle(warehouse, events, [in_time, late])
    found = warehouse.read("SELECT funnel, took_us FROM funnels WHERE step = 2 AND users = 1")
    assert found.rows() == [("1.001", 1_001_000)]


def test_latencies_that_are_left_out_are_counted(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    half_an_hour_ms = 1_800_000.0
    latencies = [None, 0.0, -0.0, half_an_hour_ms, -0.001, half_an_hour_ms + 0.001, 1e300]
    events = [at(n, latency_ms=latency_ms) for n, latency_ms in enumerate(latencies)]
    repeated = at(9, latency_ms=-1.0, event_id="x")
    events = made(*events, repeated, repeated, at(0, day=NEXT_DAY, latency_ms=5.0))
    load(warehouse, as_chunks(events, memory_path, lambda event: WINDOWS[0]))
    receipts = close_stale_days(warehouse)
    assert {day: {r.latencies_left_out for r in of_day.values()} for day, of_day in receipts.items()} == {
        DAY: {5}, NEXT_DAY: {0},
    }  # fmt: skip
    assert_receipts_equal_oracle(receipts, events)


def test_payloads_that_are_left_out_are_counted(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    payloads = [None, 0.0, -0.0, 2.0**30, -0.001, 2**30 + 0.001, 1e300, math.inf, -math.inf, math.nan]
    events = [at(n, payload_bytes=payload_bytes) for n, payload_bytes in enumerate(payloads)]
    repeated = at(20, payload_bytes=-1.0, event_id="x")
    events = made(*events, repeated, repeated, at(0, day=NEXT_DAY, payload_bytes=5.5))
    load(warehouse, as_chunks(events, memory_path, lambda event: WINDOWS[0]))
    receipts = close_stale_days(warehouse)
    assert {day: {r.payloads_left_out for r in of_day.values()} for day, of_day in receipts.items()} == {
        DAY: {8}, NEXT_DAY: {0},
    }  # fmt: skip
    assert_receipts_equal_oracle(receipts, events)
    found = warehouse.read("SELECT trading_day, sized, payload_bytes FROM friction ORDER BY trading_day").rows()
    assert found == [(DAY, 3, 2**30), (NEXT_DAY, 1, 5)]


def test_an_event_id_names_one_event_of_its_user_on_its_trading_day(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    def event(user: str, day: date, mini_app: str, at: int) -> dict[str, Any]:
        time_us = 1_795_446_000_000_000 + at
        return {
            "event_id": "1", "user_id": user, "trading_day": day, "mini_app": mini_app, "event_time_us": time_us,
            "properties": '{"sequence": 7, "a \\"b": 1}',
        }  # fmt: skip

    # The second of a user's messages on a day is dropped, although it tells of an earlier instant.
    rows = [
        event(USERS[0], DAYS[0], "quotes", 5), event(USERS[0], DAYS[0], "charts", 0),
        event(USERS[0], DAYS[1], "news", 9), event(USERS[1], DAYS[0], "risk", 5),
    ]  # fmt: skip
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, rows)])
    receipts = close_stale_days(warehouse)
    dropped = {day: {receipts[day][mart].duplicates_dropped for mart in ALL_MARTS} for day in DAYS}
    assert dropped == {DAYS[0]: {1}, DAYS[1]: {0}}
    counted = warehouse.read("SELECT trading_day, user_id, first_mini_app, events FROM user_sessions ORDER BY ALL")
    assert counted.rows() == [
        (DAYS[0], USERS[0], "quotes", 1), (DAYS[0], USERS[1], "risk", 1), (DAYS[1], USERS[0], "news", 1),
    ]  # fmt: skip
    for name, fold in (("sequence", 2), ('a "b', 1), ("absent", None)):
        over_all_days = transition_counts_by(warehouse, name)
        assert over_all_days.get_column("transitions").sum() == 3
        assert set(over_all_days.get_column("fold")) == {fold}, name


def test_folds_of_users_are_near_even(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    users = [{"user_id": f"{number:02x}" + "5" * 62} for number in range(256)]
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, users)])
    close_stale_days(warehouse)
    folds = warehouse.read("SELECT fold, sum(transitions)::BIGINT FROM app_transitions GROUP BY fold ORDER BY fold")
    assert folds.rows() == [(0, 52), (1, 51), (2, 51), (3, 51), (4, 51)]


def test_an_unknown_mart_is_refused(warehouse: DuckDBWarehouse) -> None:
    with pytest.raises(ValueError, match="clicks: not a mart"):
        refresh(warehouse, DAYS[0], "clicks")
