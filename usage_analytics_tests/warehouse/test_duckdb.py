"""The warehouse: loads are idempotent by window, marts equal a plain-Python oracle, incremental equals rebuilt."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fakes import TOPIC, enriched_chunk, memory_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk, EnrichedDamaged
from usage_analytics.errors import UserError
from usage_analytics.serving.preload_plan import PLAN_SCHEMA
from usage_analytics.warehouse.duckdb import DuckDBWarehouse
from usage_analytics.warehouse.protocol import MARTS

DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
USERS = [digit * 32 for digit in "04af"]
WINDOWS = ["2026-11-23T1000", "2026-11-23T1015", "2026-11-23T1030"]
LEDGER = """SELECT kafka_partition, start_offset, end_offset, row_count, dead_letters, fingerprint
            FROM load_ledger ORDER BY ALL"""
EVENTS = "SELECT * FROM usage_events ORDER BY topic, kafka_partition, kafka_offset"


@pytest.fixture
def warehouse(memory_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(memory_path / "warehouse.duckdb", wait_s=1)


def events(count: int, **common: Any) -> list[dict[str, Any]]:
    return [dict(common) for _ in range(count)]


NO_PLAN = pl.DataFrame(schema=PLAN_SCHEMA)


def test_an_empty_warehouse_answers(warehouse: DuckDBWarehouse) -> None:
    assert warehouse.stale_days() == []
    assert warehouse.read("SELECT * FROM usage_events").is_empty()
    assert warehouse.load_window(TOPIC, WINDOWS[0], []).rows == 0


def test_loading_again_changes_nothing(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    chunks = [
        enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(5), dead_letters=2),
        enriched_chunk(memory_path, WINDOWS[0], 1, 40, events(3)),
        enriched_chunk(memory_path, WINDOWS[0], 1, 43, [], dead_letters=1),
    ]
    first = warehouse.load_window(TOPIC, WINDOWS[0], chunks)
    assert (first.rows, first.chunks_loaded, first.chunks_kept, first.trading_days) == (8, 3, 0, (DAYS[1],))
    rows, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    version = warehouse.read("SELECT * FROM trading_day_versions")
    again = warehouse.load_window(TOPIC, WINDOWS[0], chunks)
    assert (again.rows, again.chunks_loaded, again.chunks_kept, again.trading_days) == (8, 0, 3, ())
    assert warehouse.read(EVENTS).equals(rows)
    assert warehouse.read(LEDGER).equals(ledger)
    assert warehouse.read("SELECT * FROM trading_day_versions").equals(version)
    assert ledger.rows() == [(0, 0, 7, 5, 2, "f1"), (1, 40, 43, 3, 0, "f1"), (1, 43, 44, 0, 1, "f1")]


def test_only_chunks_whose_fingerprint_changed_are_replaced(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    kept = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2, mini_app="kept"))
    old = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(3, mini_app="old", trading_day=DAYS[0]))
    warehouse.load_window(TOPIC, WINDOWS[0], [kept, old])
    new = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(2, mini_app="new"), "f2", dead_letters=1)
    receipt = warehouse.load_window(TOPIC, WINDOWS[0], [kept, new])
    assert (receipt.rows, receipt.chunks_loaded, receipt.chunks_kept) == (4, 1, 1)
    assert receipt.trading_days == (DAYS[0], DAYS[1])  # the day that lost its rows has changed too
    assert warehouse.read(EVENTS).get_column("mini_app").to_list() == ["kept", "kept", "new", "new"]
    assert warehouse.read(LEDGER).rows() == [(0, 0, 2, 2, 0, "f1"), (0, 2, 5, 2, 1, "f2")]


def test_windows_and_topics_do_not_touch_each_other(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2))])
    warehouse.load_window(TOPIC, WINDOWS[1], [enriched_chunk(memory_path, WINDOWS[1], 0, 2, events(3))])
    assert warehouse.load_window("others", WINDOWS[0], []).rows == 0
    assert warehouse.load_window(TOPIC, WINDOWS[0], []).rows == 0  # a window without chunks holds no rows
    assert warehouse.read(EVENTS).get_column("kafka_offset").to_list() == [2, 3, 4]
    assert warehouse.read(LEDGER).rows() == [(0, 2, 5, 3, 0, "f1")]


def test_a_load_that_fails_changes_nothing(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    good = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2))
    warehouse.load_window(TOPIC, WINDOWS[0], [good])
    rows, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    replaced = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2, mini_app="new"), "f2")
    missing = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(2))
    missing.path.unlink()
    with pytest.raises(EnrichedDamaged, match=r"is damaged \(it is gone\): materialize usage_events of window"):
        warehouse.load_window(TOPIC, WINDOWS[0], [replaced, missing])
    short = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(2))
    lying = EnrichedChunk(short.record, short.path, 3, 0, {}, "f1")
    with pytest.raises(RuntimeError, match="holds 4 rows after loading"):
        warehouse.load_window(TOPIC, WINDOWS[0], [replaced, lying])
    assert warehouse.read(EVENTS).equals(rows)
    assert warehouse.read(LEDGER).equals(ledger)


def test_a_damaged_file_is_never_loaded(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    loaded, damaged = (enriched_chunk(memory_path, WINDOWS[0], 0, start, events(4)) for start in (0, 4))
    warehouse.load_window(TOPIC, WINDOWS[0], [loaded])
    rows, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    for chunk in (loaded, damaged):
        content = chunk.path.read_bytes()
        chunk.path.write_bytes(content.replace(b"midday", b"midnig"))
        assert chunk.path.read_bytes() != content
        assert pl.read_parquet(chunk.path).height == 4  # nothing else would notice
    with pytest.raises(EnrichedDamaged) as raised:
        warehouse.load_window(TOPIC, WINDOWS[0], [loaded, damaged])
    why = "its bytes are not those that were written"
    sentence = f"{damaged.path} is damaged ({why}): materialize usage_events of window {WINDOWS[0]} again"
    assert str(raised.value) == sentence
    assert warehouse.read(EVENTS).equals(rows)
    assert warehouse.read(LEDGER).equals(ledger)
    assert warehouse.load_window(TOPIC, WINDOWS[0], [loaded]).chunks_kept == 1  # what is loaded is not read again


def test_stale_days_are_those_whose_events_changed_after_their_marts(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    both = [*events(2, trading_day=DAYS[1]), *events(1, trading_day=DAYS[0])]
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, both)])
    assert warehouse.stale_days() == DAYS
    for mart in MARTS:
        assert warehouse.refresh_mart(mart, DAYS[1]).version == 1
    assert warehouse.stale_days() == DAYS  # without a plan: the run may have died before it
    warehouse.replace_plan(DAYS[1], NO_PLAN)
    assert warehouse.stale_days() == [DAYS[0]]
    warehouse.refresh_mart(MARTS[0], DAYS[0])
    assert warehouse.stale_days() == [DAYS[0]]  # one mart of two
    warehouse.refresh_mart(MARTS[1], DAYS[0])
    warehouse.replace_plan(DAYS[0], NO_PLAN)
    assert warehouse.stale_days() == []
    late = enriched_chunk(memory_path, WINDOWS[1], 0, 3, events(1, trading_day=DAYS[0]))
    warehouse.load_window(TOPIC, WINDOWS[1], [late])
    assert warehouse.stale_days() == [DAYS[0]]
    assert warehouse.refresh_mart(MARTS[0], DAYS[0]).version == 2


def test_an_unknown_mart_is_refused(warehouse: DuckDBWarehouse) -> None:
    with pytest.raises(ValueError, match="'clicks' is not a mart"):
        warehouse.refresh_mart("clicks", DAYS[0])


def test_a_file_that_is_no_warehouse_is_named(memory_path: Path) -> None:
    path = memory_path / "warehouse.duckdb"
    path.write_bytes(b"this is not a database" * 1_000)
    with pytest.raises(UserError, match=rf"warehouse {path} cannot be opened"):
        DuckDBWarehouse(path).stale_days()


def test_replacing_a_plan_replaces_one_day(warehouse: DuckDBWarehouse) -> None:
    def plan(mini_app: str) -> pl.DataFrame:
        row = {"context": "", "context_order": 0, "rank": 1, "mini_app": mini_app, "probability": 0.5, "transitions": 9}
        return pl.DataFrame([row])

    for day, mini_app in ((DAYS[0], "a"), (DAYS[1], "b"), (DAYS[1], "c")):
        warehouse.replace_plan(day, plan(mini_app))
    rows = warehouse.read("SELECT trading_day, mini_app FROM preload_plan ORDER BY 1").rows()
    assert rows == [(DAYS[0], "a"), (DAYS[1], "c")]


HALF_HOUR_US = 30 * 60 * 10**6
STEPS_US = st.sampled_from([0, 1, 10**6, HALF_HOUR_US - 1, HALF_HOUR_US, HALF_HOUR_US + 1, 2 * HALF_HOUR_US])


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[int, str, dict[str, Any]]]:
    """Events as they arrive: in any order of event time, over two Kafka partitions and three windows, some twice."""
    event = st.tuples(
        st.sampled_from(USERS), st.sampled_from(DAYS), st.sampled_from(["quotes", "charts", "news"]), STEPS_US,
        st.sampled_from(["acme", "beta", None]),
    )  # fmt: skip
    rows, at = [], 0
    for number, (user, day, mini_app, step, firm) in enumerate(draw(st.lists(event, min_size=1, max_size=40))):
        at += step
        rows.append({
            "event_id": f"e{number}", "user_id": user, "trading_day": day, "mini_app": mini_app, "client_firm": firm,
            "event_time_us": 1_795_000_000_000_000 + 10**12 * DAYS.index(day) + at,
            "properties": json.dumps({"sequence": USERS.index(user)}),
        })  # fmt: skip
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


def refresh(warehouse: DuckDBWarehouse) -> None:
    for day in warehouse.stale_days():
        for mart in MARTS:
            warehouse.refresh_mart(mart, day)
        warehouse.replace_plan(day, NO_PLAN)


def user_runs(rows: Iterable[dict[str, Any]]) -> dict[tuple[date, str, int], list[dict[str, Any]]]:
    """The oracle: each event once, in order, cut where a user paused for 30 minutes."""
    single: dict[tuple[date, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: (r["topic"], r["kafka_partition"], r["kafka_offset"])):
        single.setdefault((row["trading_day"], row["event_id"]), row)
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
            key = (day, int(user[-1], 16) % 5, *apps[position : position + 4])
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
        refresh(rebuilt)
        runs = user_runs(incremental.read(EVENTS).to_dicts())
        for warehouse in (incremental, rebuilt):
            sessions = warehouse.read(SESSIONS).rows()
            assert len(sessions) == len(set(sessions))
            assert set(sessions) == expected_sessions(runs)
            transitions = warehouse.read(TRANSITIONS).rows()
            assert {row[:6]: list(row[6:]) for row in transitions} == expected_transitions(runs)
            assert len(transitions) == len(expected_transitions(runs))
            assert warehouse.stale_days() == []
        assert sum(len(run) for run in runs.values()) == len({row["event_id"] for _, _, row in arrived})
        by_property = incremental.transition_counts("sequence")
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
