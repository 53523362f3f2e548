"""The two tiers of the embedded warehouse: what is fresh lies in files, what is closed in DuckDB's own columns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from closing import refresh, stale_days
from crashing import Crash
from fakes import TOPIC, enriched_chunk, flip
from planting import close_all

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import EVERYTHING
from usage_analytics.warehouse.duckdb import closing, loading
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles
from usage_analytics.warehouse.duckdb.tiers import leave_out
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics.warehouse.ledger import altered, held, loaded_chunks

DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
WINDOWS = ["2026-11-23T1000", "2026-11-23T1015", "2026-11-23T1030"]
EVENTS = "SELECT * FROM usage_events ORDER BY topic, kafka_partition, kafka_offset"
CLOSED = "SELECT COUNT(*) AS n FROM usage_events_closed"


def fresh_of(warehouse: DuckDBWarehouse) -> list[Path]:
    return sorted(Path(f"{warehouse.path}.fresh").rglob("*.parquet"))


def rows(warehouse: DuckDBWarehouse) -> pl.DataFrame:
    return warehouse.read(EVENTS)


def closed(warehouse: DuckDBWarehouse) -> int:
    return int(warehouse.read(CLOSED).item())


def loaded(warehouse: DuckDBWarehouse, root: Path) -> pl.DataFrame:
    """Two days in three windows, the last with late events of the first day."""
    for number, (window, days) in enumerate(zip(WINDOWS, ([0], [1], [1, 0]), strict=True)):
        events = [{"trading_day": DAYS[day], "mini_app": f"m{day}"} for day in days for _ in range(3)]
        warehouse.load_window(TOPIC, window, [enriched_chunk(root, window, 0, 10 * number, events)])
    return rows(warehouse)


def test_rows_are_fresh_until_their_day_is_closed_and_the_same_then(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    before = loaded(warehouse, memory_path)
    assert (closed(warehouse), len(fresh_of(warehouse))) == (0, 3)
    warehouse.close_day(DAYS[0])  # with the late events comes all that lies in one file with them
    assert (closed(warehouse), len(fresh_of(warehouse))) == (9, 1)
    assert rows(warehouse).equals(before)
    warehouse.close_day(DAYS[1])
    assert (closed(warehouse), fresh_of(warehouse)) == (12, [])
    assert rows(warehouse).equals(before)
    warehouse.close_day(DAYS[1])
    assert rows(warehouse).equals(before)


def test_a_closed_window_is_replaced_by_what_is_fresh(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    loaded(warehouse, memory_path)
    close_all(warehouse.path)
    new = enriched_chunk(memory_path, WINDOWS[1], 0, 10, [{"mini_app": "new"}] * 2, "f2", dead_letters=1)
    assert warehouse.load_window(TOPIC, WINDOWS[1], [new]).chunks_loaded == 1
    assert rows(warehouse).filter(load_window=WINDOWS[1]).get_column("mini_app").to_list() == ["new"] * 2
    assert (closed(warehouse), len(fresh_of(warehouse))) == (9, 1)


def test_damage_in_the_lake_does_not_reach_what_is_loaded(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    before = loaded(warehouse, memory_path)
    for path in (memory_path / "usage_events").rglob("*.parquet"):
        path.write_bytes(b"")
    assert rows(warehouse).equals(before)
    warehouse.close_day(DAYS[0])
    assert rows(warehouse).equals(before)


def test_many_fresh_files_are_closed_without_being_told(memory_path: Path) -> None:
    warehouse = DuckDBWarehouse(memory_path / "warehouse.duckdb", most_fresh_files=2)
    assert loaded(warehouse, memory_path).height == 12
    assert (closed(warehouse), fresh_of(warehouse)) == (12, [])


def loaded_starts(warehouse: DuckDBWarehouse) -> list[int]:
    """Where the chunks of the ledger begin; each is there whole."""
    with warehouse.session() as session:
        ledger = loaded_chunks(session, TOPIC, EVERYTHING)
        for row in ledger:
            there = held(session, TOPIC, EVERYTHING, row.load_window)[row.kafka_partition, row.start_offset]
            assert not altered(row, there)
        return [row.start_offset for row in ledger]


def again(root: Path) -> EnrichedChunk:
    """The chunk of the second window."""
    return enriched_chunk(root, WINDOWS[1], 0, 10, [{"trading_day": DAYS[1], "mini_app": "m1"}] * 3)


def file_of(warehouse: DuckDBWarehouse, window: str) -> Path:
    return next(path for path in fresh_of(warehouse) if window in str(path))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "one bit changed": lambda path: flip(path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_given_up_by_the_close_and_loaded_again(
    damage: str, warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    before = loaded(warehouse, memory_path)
    refresh(warehouse, DAYS[1])
    file = file_of(warehouse, WINDOWS[1])
    DAMAGES[damage](file)
    with pytest.raises(UserError) as told:
        warehouse.close_day(DAYS[1])
    assert str(told.value).startswith(f"{file} is damaged: it")
    remedy = f"materialize loaded_events of window {WINDOWS[1]}, or let the next run do so; then this again"
    assert str(told.value).endswith(f"; its rows were taken out: {remedy}")
    assert loaded_starts(warehouse) == [0, 20]
    refresh(warehouse, DAYS[1])  # somebody does not listen
    chunks = (chunk for chunk in [again(memory_path)])  # gone through once, as those of a run
    assert warehouse.load_window(TOPIC, WINDOWS[1], chunks).chunks_loaded == 1
    assert DAYS[1] in stale_days(warehouse)
    assert loaded_starts(warehouse) == [0, 10, 20] and rows(warehouse).equals(before)
    close_all(warehouse.path)
    assert rows(warehouse).equals(before)


@pytest.mark.parametrize("damage", ["deleted", "cut short"])
def test_files_that_cannot_be_read_are_told_of_and_given_up_by_the_next_load(
    damage: str, warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    before = loaded(warehouse, memory_path)
    first, second = (file_of(warehouse, window) for window in WINDOWS[:2])
    for file in (first, second):  # the first is the one that DuckDB looks at to know the columns
        DAMAGES[damage](file)
    for ask in (lambda: rows(warehouse), lambda: asked(warehouse, "SELECT * FROM usage_events")):
        with pytest.raises(UserError) as told:
            ask()
        assert str(told.value).startswith(f"warehouse {warehouse.path}: {warehouse.path}.fresh/load_window=")
        assert " is damaged (it" in str(told.value)
        assert "): materialize loaded_events of window 2026-11-23T10" in str(told.value)
    chunks = (chunk for chunk in [again(memory_path)])  # gone through once, as those of a run
    assert warehouse.load_window(TOPIC, WINDOWS[1], chunks).chunks_loaded == 1
    assert loaded_starts(warehouse) == [10, 20]
    events = [{"trading_day": DAYS[0], "mini_app": "m0"}] * 3
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, events)])
    assert rows(warehouse).equals(before)


def asked(warehouse: DuckDBWarehouse, question: str) -> list[dict[str, object]]:
    with warehouse.answered(question) as answer:
        return answer.read_all().to_pylist()


def test_questions_write_nothing_among_the_fresh_files(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    before = loaded(warehouse, memory_path)
    for question in (f"COPY (SELECT 1) TO '{file_of(warehouse, WINDOWS[0])}'", f"ATTACH '{warehouse.path}.fresh/x.db'"):
        with pytest.raises(UserError, match="that is no query, and questions change nothing"):
            asked(warehouse, question)
    assert rows(warehouse).equals(before)
    assert [path.suffix for path in fresh_of(warehouse)] == [".parquet"] * 3


@pytest.mark.parametrize("step", ["the rows are in their place", "the view is made anew", "all is done but the sweep"])
def test_a_close_that_is_killed_moves_nothing_or_all(
    step: str, warehouse: DuckDBWarehouse, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded(warehouse, memory_path)

    def die(*_: object) -> None:
        raise Crash

    def die_after(*arguments: Any) -> None:
        leave_out(*arguments)
        raise Crash

    with monkeypatch.context() as killed, pytest.raises(Crash):
        if step == "all is done but the sweep":
            killed.setattr(FreshFiles, "sweep", die)
        else:
            killed.setattr(closing, "leave_out", die if step == "the rows are in their place" else die_after)
        warehouse.close_day(DAYS[1])
    assert closed(warehouse) == (9 if step == "all is done but the sweep" else 0)
    assert rows(warehouse).equals(before)
    warehouse.close_day(DAYS[1])
    assert (closed(warehouse), len(fresh_of(warehouse))) == (9, 1)
    assert rows(warehouse).equals(before)


def test_a_full_disk_is_not_made_fuller_by_what_was_copied(
    warehouse: DuckDBWarehouse, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:50])
        raise OSError(28, "No space left on device")

    chunk = enriched_chunk(memory_path, WINDOWS[0], 0, 0, [{}] * 3)
    with monkeypatch.context() as full, pytest.raises(OSError, match=r"No space left on device: .*\.parquet'"):
        full.setattr(shutil, "copyfile", half)
        warehouse.load_window(TOPIC, WINDOWS[0], [chunk])
    assert fresh_of(warehouse) == [] and rows(warehouse).is_empty()


def test_what_a_killed_load_leaves_is_no_part_of_the_warehouse(
    warehouse: DuckDBWarehouse, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = enriched_chunk(memory_path, WINDOWS[0], 0, 0, [{}] * 3)
    with monkeypatch.context() as killed, pytest.raises(Crash):
        killed.setattr(loading, "show", lambda *_: (_ for _ in ()).throw(Crash))
        warehouse.load_window(TOPIC, WINDOWS[0], [chunk])
    [left] = fresh_of(warehouse)
    assert rows(warehouse).is_empty()
    assert warehouse.load_window(TOPIC, WINDOWS[0], [chunk]).chunks_loaded == 1
    assert rows(warehouse).height == 3
    assert len(fresh_of(warehouse)) == 1 and not left.exists()


def test_a_home_that_was_moved_is_brought_up_to_date_but_by_no_question(memory_path: Path) -> None:
    for name, later in (("a home [1]", "it's moved"), ("another=home", "trading *")):
        home = memory_path / name
        before = loaded(DuckDBWarehouse(home / "warehouse.duckdb"), home)
        shutil.move(home, memory_path / later)
        moved = DuckDBWarehouse(memory_path / later / "warehouse.duckdb")
        content = moved.path.read_bytes()
        told = "or was moved: run usage-analytics status, which brings it up to date, and ask again"
        with pytest.raises(UserError, match=told), moved.answered("SELECT COUNT(*) AS n FROM usage_events"):
            pass
        assert moved.path.read_bytes() == content
        assert rows(moved).equals(before)
        with moved.answered("SELECT COUNT(*) AS n FROM usage_events") as answer:
            assert answer.read_all().to_pylist() == [{"n": 12}]


def test_a_home_that_lost_files_on_its_way_can_be_opened(memory_path: Path) -> None:
    before = loaded(DuckDBWarehouse(memory_path / "home/warehouse.duckdb"), memory_path / "home")
    shutil.move(memory_path / "home", memory_path / "moved")
    moved = DuckDBWarehouse(memory_path / "moved/warehouse.duckdb")
    file_of(moved, WINDOWS[0]).unlink()
    flip(file_of(moved, WINDOWS[1]))
    assert rows(moved).height == 9
    assert loaded_starts(moved) == [10, 20]
    events = [{"trading_day": DAYS[0], "mini_app": "m0"}] * 3
    chunk = enriched_chunk(memory_path / "moved", WINDOWS[0], 0, 0, events)
    moved.load_window(TOPIC, WINDOWS[0], [chunk])
    assert rows(moved).height == before.height
