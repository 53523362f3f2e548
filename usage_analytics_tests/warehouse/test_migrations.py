"""A warehouse of an earlier version of the platform becomes one of now, with all that it holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from closing import close_stale_days, stale_days
from fakes import TOPIC, enriched_chunk, flip

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.errors import UserError
from usage_analytics.lake.sealed_parquet import read_footer, write_sealed
from usage_analytics.tables import EVENT_COLUMNS
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse

WINDOW = "2026-11-23T1000"
COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
WHERE table_schema = 'main' ORDER BY table_name, ordinal_position
"""
EVENTS = "SELECT * FROM usage_events ORDER BY kafka_partition, kafka_offset"
LEDGER = "SELECT * EXCLUDE (loaded_us, offset_sum) FROM load_ledger ORDER BY kafka_partition, start_offset"
# The tables of the first version, as it made them.
FIRST_VERSION = """
CREATE TABLE usage_events (
    load_window VARCHAR NOT NULL, event_id VARCHAR NOT NULL, event_time_us BIGINT NOT NULL, trading_day DATE NOT NULL,
    phase VARCHAR NOT NULL, user_id VARCHAR NOT NULL, client_firm VARCHAR, user_session VARCHAR,
    mini_app VARCHAR NOT NULL, action VARCHAR, screen VARCHAR, latency_ms DOUBLE, properties VARCHAR,
    topic VARCHAR NOT NULL, kafka_partition INTEGER NOT NULL, kafka_offset BIGINT NOT NULL, kafka_timestamp_us BIGINT
);
CREATE TABLE load_ledger (
    load_window VARCHAR NOT NULL, topic VARCHAR NOT NULL, kafka_partition INTEGER NOT NULL,
    start_offset BIGINT NOT NULL, end_offset BIGINT NOT NULL, row_count BIGINT NOT NULL, dead_letters BIGINT NOT NULL,
    fingerprint VARCHAR NOT NULL, loaded_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (topic, kafka_partition, start_offset)
);
CREATE TABLE trading_day_versions (trading_day DATE PRIMARY KEY, version BIGINT NOT NULL);
CREATE TABLE mart_ledger (
    mart VARCHAR NOT NULL, trading_day DATE NOT NULL, version BIGINT NOT NULL, row_count BIGINT NOT NULL,
    refreshed_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (mart, trading_day)
);
CREATE TABLE user_sessions (
    trading_day DATE NOT NULL, user_id VARCHAR NOT NULL, session_number BIGINT NOT NULL, client_firm VARCHAR,
    started_us BIGINT NOT NULL, ended_us BIGINT NOT NULL, events BIGINT NOT NULL, mini_apps BIGINT NOT NULL,
    first_mini_app VARCHAR NOT NULL, last_mini_app VARCHAR NOT NULL
);
CREATE TABLE app_transitions (
    trading_day DATE NOT NULL, fold INTEGER NOT NULL, prev3 VARCHAR, prev2 VARCHAR, prev1 VARCHAR,
    next VARCHAR NOT NULL, transitions BIGINT NOT NULL, dwell_us BIGINT NOT NULL
);
CREATE TABLE preload_plan (
    trading_day DATE NOT NULL, context VARCHAR NOT NULL, context_order INTEGER NOT NULL, rank INTEGER,
    mini_app VARCHAR, probability DOUBLE, transitions BIGINT NOT NULL
);
"""
LATER = [
    "ALTER TABLE load_ledger ADD COLUMN offset_sum DECIMAL(38, 0)",
    "ALTER TABLE mart_ledger ADD COLUMN rule VARCHAR",
]
OLD_NAMES = [column.name for column in EVENT_COLUMNS if column.name not in ("entity", "payload_bytes")]
NAMES = ", ".join(OLD_NAMES)
# What takes a warehouse back to before a migration.
BEFORE = {
    2: [f"ALTER TABLE load_ledger DROP COLUMN {name}" for name in ("first_day", "last_day")],
    3: [
        f"ALTER TABLE {table} DROP COLUMN {name}"
        for table, names in (
            ("usage_events_closed", ("entity", "payload_bytes")),
            ("friction", ("sized", "payload_bytes")),
        )
        for name in names
    ],
}
FRICTION_RULE = "7d8f67611c4b858c"  # by which friction was made without payloads
DAYS = [date(2026, 11, 20), date(2026, 11, 23)]


def take_back(warehouse: DuckDBWarehouse, migration: int) -> None:
    """Make a warehouse one of before, to which only the migrations up to one were done."""
    with duckdb.connect(str(warehouse.path)) as connection:
        for number in sorted(BEFORE, reverse=True):
            for statement in BEFORE[number] if number > migration else []:
                connection.execute(statement)
        connection.execute(f"UPDATE warehouse_schema SET migration = {migration}, views = 'of before'")


def fresh_of_before(warehouse: DuckDBWarehouse) -> list[Path]:
    """Its fresh files, made those of before there were payloads."""
    files = sorted(Path(f"{warehouse.path}.fresh").rglob("*.parquet"))
    for file in files:
        rows = pq.ParquetFile(file).read().select(OLD_NAMES)
        write_sealed(rows, file, read_footer(file).facts)
    return files


@pytest.mark.parametrize("changes", [[], LATER[:1], LATER], ids=["first", "with offset sums", "with rules"])
def test_a_warehouse_of_before_becomes_one_of_now(memory_path: Path, changes: list[str]) -> None:
    now, before = (DuckDBWarehouse(memory_path / f"{name}.duckdb") for name in ("now", "before"))
    chunks = [enriched_chunk(memory_path, WINDOW, 0, start, [{}] * 4) for start in (0, 4)]
    now.load_window(TOPIC, WINDOW, chunks)
    close_stale_days(now)
    with duckdb.connect(str(before.path)) as connection:
        for statement in [*FIRST_VERSION.split(";\n"), *changes]:
            connection.execute(statement)
        for chunk in chunks:
            source = f"read_parquet('{chunk.path}', hive_partitioning = false)"
            connection.execute(f"INSERT INTO usage_events SELECT '{WINDOW}', {NAMES} FROM {source}")
            row = [WINDOW, TOPIC, 0, chunk.record.start, chunk.record.end, 4, 0, chunk.fingerprint]
            names = (
                "load_window, topic, kafka_partition, start_offset, end_offset, row_count, dead_letters, fingerprint"
            )
            marks = ", ".join("?" * len(row))
            values = f"VALUES ({marks}, TIMESTAMPTZ '2026-11-23 15:00:00+00')"
            connection.execute(f"INSERT INTO load_ledger ({names}, loaded_at) {values}", row)
        day = connection.execute("SELECT DISTINCT trading_day FROM usage_events").fetchall()[0][0]
        connection.execute("INSERT INTO trading_day_versions VALUES (?, 3)", [day])
        connection.execute("INSERT INTO user_sessions SELECT ?, 'u', 1, NULL, 0, 0, 1, 1, 'a', 'a'", [day])

    assert before.read(EVENTS).equals(now.read(EVENTS))
    assert before.read(LEDGER).equals(now.read(LEDGER))
    assert before.read("SELECT DISTINCT loaded_us FROM load_ledger").item() == 1_795_446_000_000_000
    assert before.read(COLUMNS).equals(now.read(COLUMNS))
    assert before.load_window(TOPIC, WINDOW, chunks).chunks_kept == 2
    assert stale_days(before) == [day]
    close_stale_days(before)
    for mart in ("user_sessions", "app_transitions", "friction"):
        assert before.read(f"SELECT * FROM {mart}").equals(now.read(f"SELECT * FROM {mart}"))


def test_days_of_chunks_are_found_in_both_tiers(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    days = [date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 24)]
    events = [[{"trading_day": day} for day in days], [{"trading_day": days[1]}], []]
    chunks = [enriched_chunk(memory_path, WINDOW, n, 0, some) for n, some in enumerate(events)]
    warehouse.load_window(TOPIC, WINDOW, chunks)
    warehouse.close_day(days[0])
    found = warehouse.read("SELECT first_day, last_day FROM load_ledger ORDER BY kafka_partition").rows()
    assert found == [(days[0], days[2]), (days[1], days[1]), (None, None)]
    take_back(warehouse, 1)
    assert warehouse.read("SELECT first_day, last_day FROM load_ledger ORDER BY kafka_partition").rows() == found
    assert warehouse.load_window(TOPIC, WINDOW, chunks).chunks_kept == 3


def test_what_was_loaded_before_payloads_stays_in_both_tiers(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    made = warehouse.read(COLUMNS)
    opened = {"action": "open", "entity": "IBM", "payload_bytes": 300.0, "latency_ms": 2.0}
    old = enriched_chunk(memory_path, WINDOW, 0, 0, [{"trading_day": DAYS[0], **opened}] * 3)
    late = enriched_chunk(memory_path, WINDOW, 1, 0, [{"trading_day": DAYS[1], **opened}] * 2, dead_letters=1)
    warehouse.load_window(TOPIC, WINDOW, [old, late])
    close_stale_days(warehouse)
    warehouse.close_day(DAYS[0])
    before, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    assert len(fresh_of_before(warehouse)) == 1
    take_back(warehouse, 2)

    unknown = [pl.lit(None, pl.String).alias("entity"), pl.lit(None, pl.Float64).alias("payload_bytes")]
    assert warehouse.read(EVENTS).equals(before.with_columns(unknown))
    assert warehouse.read(LEDGER).equals(ledger) and warehouse.read(COLUMNS).equals(made)
    friction = "SELECT trading_day, timed, sized, payload_bytes FROM friction ORDER BY trading_day"
    assert warehouse.read(friction).rows() == [(DAYS[0], 3, 0, 0), (DAYS[1], 2, 0, 0)]

    # Enriched anew, as a backfill does, they bring what was not known.
    anew = [replace(chunk, fingerprint="f2") for chunk in (old, late)]
    assert warehouse.load_window(TOPIC, WINDOW, [rewritten(chunk) for chunk in anew]).chunks_loaded == 2
    close_stale_days(warehouse)
    assert warehouse.read(friction).rows() == [(DAYS[0], 3, 3, 900), (DAYS[1], 2, 2, 600)]


def rewritten(chunk: EnrichedChunk) -> EnrichedChunk:
    """A chunk whose file says that it is of the chunk's fingerprint."""
    facts = {**read_footer(chunk.path).facts, "fingerprint": chunk.fingerprint}
    write_sealed(pq.ParquetFile(chunk.path).read(), chunk.path, facts)
    return chunk


@pytest.mark.parametrize("whole", [0, 1])
def test_fresh_files_of_before_that_are_lost_are_given_up(
    whole: int, warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    chunks = [enriched_chunk(memory_path, WINDOW, number, 0, [{}] * (number + 1)) for number in range(3)]
    warehouse.load_window(TOPIC, WINDOW, chunks[: 2 + whole])
    files = fresh_of_before(warehouse)
    files[0].unlink()
    flip(files[1])
    take_back(warehouse, 2)
    assert warehouse.read(EVENTS).height == 3 * whole
    assert warehouse.read("SELECT kafka_partition FROM load_ledger").rows() == [(2,)] * whole
    receipt = warehouse.load_window(TOPIC, WINDOW, chunks)
    assert (receipt.rows, receipt.chunks_loaded, receipt.chunks_kept) == (6, 3 - whole, whole)


def test_marts_of_before_payloads_are_made_anew(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    warehouse.load_window(TOPIC, WINDOW, [enriched_chunk(memory_path, WINDOW, 0, 0, [{"payload_bytes": 7.0}] * 3)])
    close_stale_days(warehouse)
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute(f"UPDATE mart_ledger SET rule = '{FRICTION_RULE}' WHERE mart = 'friction'")
    take_back(warehouse, 2)
    assert warehouse.read("SELECT sized, payload_bytes FROM friction").rows() == [(0, 0)]
    assert stale_days(warehouse) == [DAYS[1]]
    close_stale_days(warehouse)
    assert warehouse.read("SELECT sized, payload_bytes FROM friction").rows() == [(3, 21)]
    assert stale_days(warehouse) == []


def test_a_warehouse_of_a_newer_version_is_left_alone(warehouse: DuckDBWarehouse) -> None:
    warehouse.read("SELECT 1")
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("UPDATE warehouse_schema SET migration = 999")
    content = warehouse.path.read_bytes()
    with pytest.raises(
        UserError, match=r"is of a newer version of the platform \(its migration 999, ours 3\): upgrade"
    ):
        stale_days(warehouse)
    with pytest.raises(UserError, match="newer version of the platform"), warehouse.answered("SELECT 1"):
        pass
    assert warehouse.path.read_bytes() == content


def test_a_question_leaves_a_warehouse_of_before_as_it_is(warehouse: DuckDBWarehouse) -> None:
    warehouse.read("SELECT 1")
    take_back(warehouse, 1)
    content = warehouse.path.read_bytes()
    told = (
        "is of an earlier version of the platform, or was moved: run usage-analytics status, which brings it up to date"
    )
    with pytest.raises(UserError, match=told), warehouse.answered("SELECT 1 AS a"):
        pass
    assert warehouse.path.read_bytes() == content
    warehouse.read("SELECT 1")
    with warehouse.answered("SELECT 1 AS a") as answer:
        assert answer.read_all().to_pydict() == {"a": [1]}


def test_views_are_made_anew_when_their_queries_change(
    warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "tried" in warehouse.read("SELECT * FROM app_adoption").columns
    other = "usage_analytics.warehouse.duckdb.schema.view_sql"
    monkeypatch.setattr(other, lambda name: f"SELECT '{name}' AS name")
    assert warehouse.read("SELECT name FROM app_adoption").item() == "app_adoption"
