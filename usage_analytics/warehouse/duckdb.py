"""The embedded warehouse: one DuckDB file, opened for as long as one step takes.

DuckDB lets one process write at a time, so connections are short and a busy file is waited for.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from usage_analytics.enrichment.enriched_chunk import EVENT_SCHEMA, EnrichedChunk, verify_events
from usage_analytics.errors import UserError
from usage_analytics.warehouse.protocol import MARTS, PLAN, LoadReceipt, MartReceipt

FOLDS = 5
# The pseudonym's first two hexadecimal digits as a number, so that a user stays in one fold on every day and in every
# engine: DuckDB, T-SQL and Spark all read this. A digit's value is its ASCII code less that of '0', modulo 39, because
# 'a' comes 39 codes after the place where the digit ten would be.
FOLD_OF_USER = (
    f"((ascii(substring(user_id, 1, 1)) - 48) % 39 * 16 + (ascii(substring(user_id, 2, 1)) - 48) % 39) % {FOLDS}"
)

# Where a mart counts each event once; what the day has more are duplicates.
COUNTS_EVENTS = {"user_sessions": "events", "app_transitions": "transitions"}


@dataclass(frozen=True)
class DuckDBWarehouse:
    """A `Warehouse` in one file."""

    path: Path
    wait_s: float = 60.0
    memory_limit: str = "768MB"

    def load_window(self, topic: str, window: str, chunks: Sequence[EnrichedChunk]) -> LoadReceipt:
        with self._transaction() as connection:
            loaded = _ledger(connection, topic, window)
            wanted = {(c.record.kafka_partition, c.record.start): c for c in chunks}
            stale = [key for key, known in loaded.items() if key not in wanted or known != _identity(wanted[key])]
            new = [chunk for key, chunk in wanted.items() if key not in loaded or key in stale]
            for chunk in new:
                verify_events(chunk)  # DuckDB checks nothing: it would load what a changed byte makes of a file
            days = _delete(connection, topic, window, [(*key, loaded[key][0]) for key in stale])
            days |= _insert(connection, window, new)
            _record(connection, window, new)
            for day in days:
                connection.execute(text(_NEXT_VERSION), {"day": day})
            rows = _count(connection, topic, window)
            if rows != sum(chunk.rows for chunk in chunks):
                raise RuntimeError(f"window {window} holds {rows} rows after loading, its chunks hold others")
        return LoadReceipt(rows, len(new), len(chunks) - len(new), tuple(sorted(days)))

    def refresh_mart(self, mart: str, trading_day: date) -> MartReceipt:
        if mart not in MARTS:
            raise ValueError(f"{mart!r} is not a mart ({', '.join(MARTS)})")
        with self._transaction() as connection:
            of_day, day = "WHERE trading_day = :day", {"day": trading_day}
            version = connection.execute(text(_VERSION), day).scalar() or 0
            connection.execute(text(f"DELETE FROM {mart} {of_day}"), day)
            select = _mart_sql(mart, "trading_day = :day", FOLD_OF_USER)
            connection.execute(text(f"INSERT INTO {mart} BY NAME {select}"), day)
            count = f"SELECT count(*), coalesce(sum({COUNTS_EVENTS[mart]}), 0) FROM {mart} {of_day}"
            rows, counted = connection.execute(text(count), day).one()
            events = connection.execute(text(f"SELECT count(*) FROM usage_events {of_day}"), day).scalar_one()
            values = {"mart": mart, "day": trading_day, "version": version, "rows": rows}
            connection.execute(text(_MART_LEDGER), values)
        return MartReceipt(rows, version, duplicates_dropped=int(events - counted))

    def stale_days(self) -> list[date]:
        days = self.read(
            "SELECT v.trading_day FROM trading_day_versions v CROSS JOIN unnest(?) AS m(mart) "
            "LEFT JOIN mart_ledger l ON l.trading_day = v.trading_day AND l.mart = m.mart "
            "WHERE l.version IS DISTINCT FROM v.version GROUP BY v.trading_day ORDER BY v.trading_day",
            [[*MARTS, PLAN]],
        )
        return days.get_column("trading_day").to_list()

    def replace_plan(self, trading_day: date, plan: pl.DataFrame) -> None:
        with self._transaction() as connection:
            connection.execute(text("DELETE FROM preload_plan WHERE trading_day = :day"), {"day": trading_day})
            raw = _duckdb(connection)
            raw.register("new_plan", plan.to_arrow())
            raw.execute(
                "INSERT INTO preload_plan BY NAME SELECT ?::DATE AS trading_day, * FROM new_plan", [trading_day]
            )
            raw.unregister("new_plan")
            # The plan is as new as the counts that its model learned from.
            made_from = "SELECT version FROM mart_ledger WHERE mart = 'app_transitions' AND trading_day = :day"
            version = connection.execute(text(made_from), {"day": trading_day}).scalar() or 0
            values = {"mart": PLAN, "day": trading_day, "version": version, "rows": plan.height}
            connection.execute(text(_MART_LEDGER), values)

    def transition_counts(self, fold_property: str) -> pl.DataFrame:
        fold = f"CAST(json_extract_string(properties, '$.' || ?) AS BIGINT) % {FOLDS}"
        return self.read(_mart_sql("app_transitions", "true", fold), [fold_property])

    def recent_mini_apps(self, user_id: str, count: int) -> list[str]:
        last_day = "SELECT max(trading_day) FROM usage_events WHERE user_id = ?"
        query = _mart_sql("recent_mini_apps", f"user_id = ? AND trading_day = ({last_day})", FOLD_OF_USER)
        return self.read(query, [user_id, user_id, count]).get_column("mini_app").to_list()[::-1]

    def read(self, query: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        with self._connection() as connection:
            rows = _duckdb(connection).sql(query, params=list(parameters)).to_arrow_table()
        return pl.DataFrame(pl.from_arrow(rows))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._connection() as connection, connection.begin():
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        spill = {"memory_limit": self.memory_limit, "temp_directory": f"{self.path}.spill"}
        engine = create_engine(f"duckdb:///{self.path}", poolclass=NullPool, connect_args={"config": spill})
        with self._patiently(engine.connect) as connection:
            for statement in _sql("schema").split(";\n"):
                connection.execute(text(statement))
            connection.commit()
            yield connection

    def _patiently(self, connect: Any) -> Connection:
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                return connect()
            except DBAPIError as error:
                if "lock" not in str(error.orig):
                    raise UserError(f"warehouse {self.path} cannot be opened: {error.orig}") from None
                if time.monotonic() > deadline:
                    raise UserError(
                        f"warehouse {self.path} has been in use for {self.wait_s:g} s: {error.orig}"
                    ) from None
                time.sleep(0.1)


_VERSION = "SELECT version FROM trading_day_versions WHERE trading_day = :day"
_NEXT_VERSION = """
INSERT INTO trading_day_versions VALUES (:day, 1) ON CONFLICT (trading_day) DO UPDATE SET version = version + 1
"""
_MART_LEDGER = "INSERT OR REPLACE INTO mart_ledger VALUES (:mart, :day, :version, :rows, now())"
_CHUNK_ROWS = """
load_window = :window AND topic = :topic AND kafka_partition = :partition
AND kafka_offset >= :start AND kafka_offset < :end
"""


def _ledger(connection: Connection, topic: str, window: str) -> dict[tuple[int, int], tuple[int, int, str]]:
    """Of each loaded chunk, by Kafka partition and start: end offset, rows, fingerprint."""
    query = """
    SELECT kafka_partition, start_offset, end_offset, row_count, fingerprint FROM load_ledger
    WHERE load_window = :window AND topic = :topic
    """
    rows = connection.execute(text(query), {"window": window, "topic": topic})
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}


def _identity(chunk: EnrichedChunk) -> tuple[int, int, str]:
    return chunk.record.end, chunk.rows, chunk.fingerprint


def _delete(connection: Connection, topic: str, window: str, chunks: list[tuple[int, int, int]]) -> set[date]:
    days: set[date] = set()
    for partition, start, end in chunks:
        values = {"window": window, "topic": topic, "partition": partition, "start": start, "end": end}
        select = text(f"SELECT DISTINCT trading_day FROM usage_events WHERE {_CHUNK_ROWS}")
        days |= set(connection.execute(select, values).scalars())
        connection.execute(text(f"DELETE FROM usage_events WHERE {_CHUNK_ROWS}"), values)
        ledger = (
            "DELETE FROM load_ledger WHERE topic = :topic AND kafka_partition = :partition AND start_offset = :start"
        )
        connection.execute(text(ledger), values)
    return days


def _insert(connection: Connection, window: str, chunks: list[EnrichedChunk]) -> set[date]:
    files = [str(chunk.path) for chunk in chunks if chunk.rows]
    if not files:
        return set()
    raw = _duckdb(connection)
    columns = ", ".join(EVENT_SCHEMA.names)
    source = "read_parquet(?, hive_partitioning = false)"
    raw.execute(f"INSERT INTO usage_events (load_window, {columns}) SELECT ?, {columns} FROM {source}", [window, files])
    days = raw.execute(f"SELECT DISTINCT trading_day FROM {source}", [files]).fetchall()
    return {row[0] for row in days}


def _record(connection: Connection, window: str, chunks: list[EnrichedChunk]) -> None:
    raw = _duckdb(connection)
    for chunk in chunks:
        r = chunk.record
        row = [window, r.topic, r.kafka_partition, r.start, r.end, chunk.rows, chunk.dead_letters, chunk.fingerprint]
        raw.execute("INSERT INTO load_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, now())", row)


def _count(connection: Connection, topic: str, window: str) -> int:
    query = text("SELECT count(*) FROM usage_events WHERE load_window = :window AND topic = :topic")
    return connection.execute(query, {"window": window, "topic": topic}).scalar_one()


def _duckdb(connection: Connection) -> Any:
    # Arrow tables and lists of Parquet files go through DuckDB's own interface, inside SQLAlchemy's transaction.
    return connection.connection.driver_connection


def _mart_sql(mart: str, days: str, fold: str) -> str:
    session_events = _sql("session_events").replace("{days}", days)
    return _sql(mart).replace("{session_events}", session_events).replace("{fold}", fold)


def _sql(name: str) -> str:
    return (resources.files("usage_analytics.warehouse") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
