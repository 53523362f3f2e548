"""The marts equal a plain-Python oracle; made micro-batch by micro-batch they equal those made at once."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
from fakes import TOPIC, enriched_chunk, memory_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.serving.preload_plan import PLAN_SCHEMA
from usage_analytics.warehouse.duckdb import DuckDBWarehouse
from usage_analytics.warehouse.protocol import MARTS, MartReceipt

DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
USERS = [digits + "0" * 30 for digits in ("01", "4a", "a0", "f7")]
WINDOWS = ["2026-11-23T1000", "2026-11-23T1015", "2026-11-23T1030"]
EVENTS = "SELECT * FROM usage_events ORDER BY topic, kafka_partition, kafka_offset"
NO_PLAN = pl.DataFrame(schema=PLAN_SCHEMA)

HALF_HOUR_US = 30 * 60 * 10**6
STEPS_US = st.sampled_from([0, 1, 10**6, HALF_HOUR_US - 1, HALF_HOUR_US, HALF_HOUR_US + 1, 2 * HALF_HOUR_US])


EVENT_IDS = st.integers(0, 25).map("e{}".format)  # few: users share them, and a user's come back with other content


@st.composite
def usage(draw: st.DrawFn, steps: st.SearchStrategy[int] = STEPS_US) -> list[dict[str, Any]]:
    """What users did on two trading days, in order of time."""
    event = st.tuples(
        EVENT_IDS, st.sampled_from(USERS), st.sampled_from(DAYS), st.sampled_from(["quotes", "charts", "news"]), steps,
        st.sampled_from(["acme", "beta", None]),
    )  # fmt: skip
    rows, at = [], 0
    for event_id, user, day, mini_app, step, firm in draw(st.lists(event, min_size=1, max_size=40)):
        at += step
        rows.append({
            "event_id": event_id, "user_id": user, "trading_day": day, "mini_app": mini_app, "client_firm": firm,
            "event_time_us": 1_795_000_000_000_000 + 10**12 * DAYS.index(day) + at,
            "properties": json.dumps({"sequence": USERS.index(user)}),
        })  # fmt: skip
    return rows


@st.composite
def deliveries(draw: st.DrawFn, rows: list[dict[str, Any]] | None = None) -> list[tuple[int, str, dict[str, Any]]]:
    """Events as they arrive: in any order of event time, over two Kafka partitions and three windows, some twice."""
    rows = draw(usage()) if rows is None else rows
    again = draw(st.lists(st.sampled_from(rows), max_size=8))
    arriving = draw(st.permutations([*rows, *again]))
    places = st.tuples(st.integers(0, 1), st.sampled_from(WINDOWS))
    return [(*draw(places), row) for row in arriving]


def chunked(folder: Path, arrived: Iterable[tuple[int, str, dict[str, Any]]]) -> dict[str, list[EnrichedChunk]]:
    """Chunks by window, of at most three events each; writes each event's position into it."""
    chunks: dict[str, list[EnrichedChunk]] = {}
    offsets = {0: 0, 1: 0}
    by_place: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for kafka_partition, window, row in arrived:
        by_place.setdefault((window, kafka_partition), []).append(row)
    for (window, kafka_partition), rows in sorted(by_place.items()):
        for first in range(0, len(rows), 3):
            some = rows[first : first + 3]
            chunk = enriched_chunk(folder, window, kafka_partition, offsets[kafka_partition], some)
            offsets[kafka_partition] = chunk.record.end
            chunks.setdefault(window, []).append(chunk)
    return chunks


def refresh(warehouse: DuckDBWarehouse) -> dict[tuple[str, date], MartReceipt]:
    receipts = {}
    for day in warehouse.stale_days():
        receipts |= {(mart, day): warehouse.refresh_mart(mart, day) for mart in MARTS}
        warehouse.replace_plan(day, NO_PLAN)
    return receipts


def identity(row: dict[str, Any]) -> tuple[date, str, str]:
    return row["trading_day"], row["user_id"], row["event_id"]


def user_runs(rows: Iterable[dict[str, Any]]) -> dict[tuple[date, str, int], list[dict[str, Any]]]:
    """The oracle: of each user's event of a day the first message, in order, cut where a user paused for 30 minutes."""
    single: dict[tuple[date, str, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: (r["topic"], r["kafka_partition"], r["kafka_offset"])):
        single.setdefault(identity(row), row)
    runs: dict[tuple[date, str, int], list[dict[str, Any]]] = {}
    last: dict[tuple[date, str], tuple[int, int]] = {}
    order = sorted(
        single.values(), key=lambda r: (r["event_time_us"], r["topic"], r["kafka_partition"], r["kafka_offset"])
    )
    for row in order:
        who = (row["trading_day"], row["user_id"])
        number, at = last.get(who, (0, 0))
        number += not number or row["event_time_us"] - at >= HALF_HOUR_US
        last[who] = (number, row["event_time_us"])
        runs.setdefault((*who, number), []).append(row)
    return runs


def expected_sessions(runs: dict[tuple[date, str, int], list[dict[str, Any]]]) -> set[tuple[Any, ...]]:
    return {
        (
            *key, min((r["client_firm"] for r in run if r["client_firm"]), default=None),
            run[0]["event_time_us"], run[-1]["event_time_us"], len(run), len({r["mini_app"] for r in run}),
            run[0]["mini_app"], run[-1]["mini_app"],
        )
        for key, run in runs.items()
    }  # fmt: skip


def expected_transitions(runs: dict[tuple[date, str, int], list[dict[str, Any]]]) -> dict[tuple[Any, ...], list[int]]:
    counts: Counter[tuple[Any, ...]] = Counter()
    dwell: Counter[tuple[Any, ...]] = Counter()
    for (day, user, _), run in runs.items():
        apps = [None, None, None, *(row["mini_app"] for row in run)]
        waits = [0, *(after["event_time_us"] - before["event_time_us"] for before, after in pairwise(run))]
        for position, wait in enumerate(waits):
            key = (day, int(user[:2], 16) % 5, *apps[position : position + 4])
            counts[key] += 1
            dwell[key] += wait
    return {key: [count, dwell[key]] for key, count in counts.items()}


SESSIONS = """SELECT trading_day, user_id, session_number, client_firm, started_us, ended_us, events, mini_apps,
              first_mini_app, last_mini_app FROM user_sessions"""
TRANSITIONS = "SELECT trading_day, fold, prev3, prev2, prev1, next, transitions, dwell_us FROM app_transitions"


@settings(max_examples=5)
@given(arrived=deliveries(), order=st.permutations(WINDOWS))
def test_marts_equal_the_oracle_and_incremental_equals_rebuilt(
    arrived: list[tuple[int, str, dict[str, Any]]], order: list[str]
) -> None:
    with memory_folder() as folder:
        chunks = chunked(Path(folder), arrived)
        incremental = DuckDBWarehouse(Path(folder) / "incremental.duckdb")
        for window in WINDOWS:
            mine = chunks.get(window, [])
            incremental.load_window(TOPIC, window, mine[: len(mine) // 2])
            if window == WINDOWS[1]:
                refresh(incremental)  # marts made from half a window; the rest of it, and late events, come after
            incremental.load_window(TOPIC, window, mine)
        refresh(incremental)
        rebuilt = DuckDBWarehouse(Path(folder) / "rebuilt.duckdb")
        for window in order:
            rebuilt.load_window(TOPIC, window, chunks.get(window, []))
        receipts = refresh(rebuilt)
        rows = incremental.read(EVENTS).to_dicts()
        runs = user_runs(rows)
        for (mart, day), receipt in receipts.items():
            mine = [identity(row) for row in rows if row["trading_day"] == day]
            assert receipt.duplicates_dropped == len(mine) - len(set(mine)), mart
        for warehouse in (incremental, rebuilt):
            sessions = warehouse.read(SESSIONS).rows()
            assert len(sessions) == len(set(sessions))
            assert set(sessions) == expected_sessions(runs)
            transitions = warehouse.read(TRANSITIONS).rows()
            assert {row[:6]: list(row[6:]) for row in transitions} == expected_transitions(runs)
            assert len(transitions) == len(expected_transitions(runs))
            assert warehouse.stale_days() == []
        assert sum(len(run) for run in runs.values()) == len({identity(row) for _, _, row in arrived})
        by_property = incremental.transition_counts_by("sequence")
        assert by_property.get_column("transitions").sum() == sum(len(run) for run in runs.values())
        assert set(by_property.get_column("fold")) == {USERS.index(user) % 5 for _, user, _ in runs}


def test_the_edges_of_user_sessions(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    def at(time_us: int, mini_app: str, event_id: str) -> dict[str, Any]:
        return {"event_time_us": 1_795_446_000_000_000 + time_us, "mini_app": mini_app, "event_id": event_id}

    # News comes a moment before the pause would be 30 minutes; charts exactly then; quotes is delivered twice.
    early = [at(0, "quotes", "a"), at(2 * HALF_HOUR_US - 1, "charts", "c")]
    late = [at(HALF_HOUR_US - 1, "news", "b"), at(0, "quotes", "a")]
    for window, kafka_partition, rows in ((WINDOWS[0], 0, early), (WINDOWS[1], 1, late)):
        warehouse.load_window(TOPIC, window, [enriched_chunk(memory_path, window, kafka_partition, 0, rows)])
        refresh(warehouse)
    query = "SELECT session_number, events, first_mini_app, last_mini_app FROM user_sessions ORDER BY 1"
    assert warehouse.read(query).rows() == [(1, 2, "quotes", "news"), (2, 1, "charts", "charts")]
    query = "SELECT prev2, prev1, next, transitions, dwell_us FROM app_transitions ORDER BY ALL"
    assert set(warehouse.read(query).rows()) == {
        (None, None, "quotes", 1, 0), (None, "quotes", "news", 1, HALF_HOUR_US - 1), (None, None, "charts", 1, 0),
    }  # fmt: skip


@settings(max_examples=5)
@given(data=st.data(), rows=usage(steps=STEPS_US.filter(bool)))
def test_neither_order_of_arrival_nor_redelivery_changes_a_mart(
    data: st.DataObject, rows: list[dict[str, Any]]
) -> None:
    single = list({identity(row): row for row in rows}.values())  # a user's instants and ids all differ
    marts = []
    with memory_folder() as folder:
        for name in ("once", "again"):
            chunks = chunked(Path(folder) / name, data.draw(deliveries(single)))
            warehouse = DuckDBWarehouse(Path(folder) / f"{name}.duckdb")
            for window, mine in chunks.items():
                warehouse.load_window(TOPIC, window, mine)
            refresh(warehouse)
            marts.append((set(warehouse.read(SESSIONS).rows()), set(warehouse.read(TRANSITIONS).rows())))
    assert marts[0] == marts[1]


def test_an_event_id_names_one_event_of_its_user_on_its_trading_day(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    def event(user: str, day: date, mini_app: str, at: int) -> dict[str, Any]:
        time_us = 1_795_446_000_000_000 + at
        return {
            "event_id": "1", "user_id": user, "trading_day": day, "mini_app": mini_app, "event_time_us": time_us,
        }  # fmt: skip

    # The second of a user's messages on a day is dropped, although it tells of an earlier instant.
    rows = [
        event(USERS[0], DAYS[0], "quotes", 5), event(USERS[0], DAYS[0], "charts", 0),
        event(USERS[0], DAYS[1], "news", 9), event(USERS[1], DAYS[0], "risk", 5),
    ]  # fmt: skip
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, rows)])
    receipts = refresh(warehouse)
    dropped = {day: {receipts[mart, day].duplicates_dropped for mart in MARTS} for day in DAYS}
    assert dropped == {DAYS[0]: {1}, DAYS[1]: {0}}
    counted = warehouse.read("SELECT trading_day, user_id, first_mini_app, events FROM user_sessions ORDER BY ALL")
    assert counted.rows() == [
        (DAYS[0], USERS[0], "quotes", 1), (DAYS[0], USERS[1], "risk", 1), (DAYS[1], USERS[0], "news", 1),
    ]  # fmt: skip
    over_all_days = warehouse.transition_counts_by("sequence")
    assert over_all_days.get_column("transitions").sum() == 3


def test_folds_of_users_are_near_even(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    users = [{"user_id": f"{number:02x}" + "5" * 30} for number in range(256)]
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, users)])
    refresh(warehouse)
    folds = warehouse.read("SELECT fold, sum(transitions)::BIGINT FROM app_transitions GROUP BY fold ORDER BY fold")
    assert folds.rows() == [(0, 52), (1, 51), (2, 51), (3, 51), (4, 51)]
