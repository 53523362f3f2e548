"""Makes one window's rows in DuckDB equal to its chunks, and keeps the load ledger of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from usage_analytics.enrichment.enriched_chunk import EVENT_SCHEMA, EnrichedChunk, verify_events
from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import Share
from usage_analytics.lake.literal_paths import for_duckdb
from usage_analytics.warehouse.duckdb_file import rebuild
from usage_analytics.warehouse.protocol import LoadReceipt

NEXT_VERSION = """
INSERT INTO trading_day_versions VALUES (:day, 1) ON CONFLICT (trading_day) DO UPDATE SET version = version + 1
"""
CHUNK_ROWS = """
load_window = :window AND topic = :topic AND kafka_partition = :partition
AND kafka_offset >= :start AND kafka_offset < :end
"""
OFFSET_SUM = """
SELECT sum(kafka_offset) FROM usage_events
WHERE load_window = ? AND topic = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?
"""
# Of the window itself, all that begins before its chunks do: chunks that were cut anew may replace only what they hold.
OVERLAPPING = """
SELECT load_window, start_offset, end_offset FROM load_ledger
WHERE topic = :topic AND kafka_partition = :partition AND (
  load_window <> :window AND start_offset < :end AND end_offset > :start
  OR load_window = :window AND start_offset < :start
)
ORDER BY load_window, start_offset
"""


def load(
    connection: Connection, path: Path, topic: str, window: str, chunks: Sequence[EnrichedChunk], share: Share
) -> LoadReceipt:
    """Replace what differs between the ledger and a share of the window's chunks, in the transaction that is open."""
    if any(not share.takes(chunk.record.kafka_partition) for chunk in chunks):
        raise ValueError(f"chunks of other shares than {share}")
    _refuse_overlaps(connection, path, topic, window, chunks)
    loaded = _ledger(connection, topic, window, share)
    wanted = {(c.record.kafka_partition, c.record.start): c for c in chunks}
    altered = _altered(connection, topic, window, share)
    stale = [
        key
        for key, known in loaded.items()
        if key in altered or key not in wanted or known.identity != _identity(wanted[key])
    ]
    new = [chunk for key, chunk in wanted.items() if key not in loaded or key in stale]
    for chunk in new:
        verify_events(chunk)  # DuckDB checks nothing: it would load what a changed byte makes of a file
    days = _delete(connection, topic, window, [(*key, loaded[key].end) for key in stale])
    days |= _insert(connection, window, new)
    _record(connection, window, new, loaded)
    for day in days:
        connection.execute(text(NEXT_VERSION), {"day": day})
    (rows, mine), expected = _count(connection, topic, window, share), sum(chunk.rows for chunk in chunks)
    if mine != expected:
        where = f"topic {topic!r}, window {window}"
        why = f"the warehouse holds {mine} rows after loading, its chunks {expected}: rows were changed by other means"
        raise UserError(f"{where}: {why}; {rebuild(path)}")
    return LoadReceipt(rows, len(new), len(chunks) - len(new), tuple(sorted(days)))


def duckdb_of(connection: Connection) -> Any:
    """DuckDB's own interface, inside SQLAlchemy's transaction: for Arrow tables and lists of Parquet files."""
    return connection.connection.driver_connection


def _refuse_overlaps(
    connection: Connection, path: Path, topic: str, window: str, chunks: Sequence[EnrichedChunk]
) -> None:
    # A lake that lost records lands the same offsets again, cut otherwise: they would be counted twice.
    for partition in sorted({chunk.record.kafka_partition for chunk in chunks}):
        mine = [chunk.record for chunk in chunks if chunk.record.kafka_partition == partition]
        start, end = min(r.start for r in mine), max(r.end for r in mine)
        values = {"topic": topic, "partition": partition, "start": start, "end": end, "window": window}
        found = connection.execute(text(OVERLAPPING), values).all()
        if not found:
            continue
        others = sorted({row[0] for row in found} - {window})
        first, last = min(row[1] for row in found), max(row[2] for row in found)
        place = f"topic {topic!r}, Kafka partition {partition}, offsets {start} to {end} of window {window}"
        if others:
            windows = ", ".join(others)
            raise UserError(
                f"{place}: the warehouse already holds offsets {first} to {last} from window {windows}, of which the "
                f"lake has lost the records; restore the lake, or materialize loaded_events of window {windows} first, "
                "which takes out what the lake holds elsewhere"
            )
        raise UserError(
            f"{place}: the warehouse already holds offsets {first} to {last} from it, and would lose those before "
            f"{start}, of which the lake has lost the records; restore the lake, or {rebuild(path)}"
        )


@dataclass(frozen=True)
class _Loaded:
    """A chunk as the ledger has it."""

    end: int
    rows: int
    fingerprint: str
    loaded_at: datetime

    @property
    def identity(self) -> tuple[int, int, str]:
        return self.end, self.rows, self.fingerprint


def _ledger(connection: Connection, topic: str, window: str, share: Share) -> dict[tuple[int, int], _Loaded]:
    """The loaded chunks of a share of a window, by Kafka partition and start."""
    query = """
    SELECT kafka_partition, start_offset, end_offset, row_count, fingerprint, loaded_at FROM load_ledger
    WHERE load_window = :window AND topic = :topic AND kafka_partition % :of = :number
    """
    rows = connection.execute(text(query), _place(topic, window, share))
    return {(row[0], row[1]): _Loaded(*row[2:]) for row in rows}


def _altered(connection: Connection, topic: str, window: str, share: Share) -> set[tuple[int, int]]:
    """Chunks whose rows in the warehouse are no longer those that were loaded, by Kafka partition and start."""
    query = """
    SELECT l.kafka_partition, l.start_offset FROM load_ledger l LEFT JOIN usage_events e
      ON e.topic = l.topic AND e.kafka_partition = l.kafka_partition AND e.load_window = l.load_window
     AND e.kafka_offset >= l.start_offset AND e.kafka_offset < l.end_offset
    WHERE l.load_window = :window AND l.topic = :topic AND l.kafka_partition % :of = :number
    GROUP BY l.kafka_partition, l.start_offset, l.row_count, l.offset_sum
    HAVING count(e.kafka_offset) <> l.row_count OR sum(e.kafka_offset) <> l.offset_sum
    """
    return {(row[0], row[1]) for row in connection.execute(text(query), _place(topic, window, share))}


def _place(topic: str, window: str, share: Share) -> dict[str, object]:
    return {"topic": topic, "window": window, "of": share.of, "number": share.number}


def _identity(chunk: EnrichedChunk) -> tuple[int, int, str]:
    return chunk.record.end, chunk.rows, chunk.fingerprint


def _delete(connection: Connection, topic: str, window: str, chunks: list[tuple[int, int, int]]) -> set[date]:
    days: set[date] = set()
    for partition, start, end in chunks:
        values = {"window": window, "topic": topic, "partition": partition, "start": start, "end": end}
        select = text(f"SELECT DISTINCT trading_day FROM usage_events WHERE {CHUNK_ROWS}")
        days |= set(connection.execute(select, values).scalars())
        connection.execute(text(f"DELETE FROM usage_events WHERE {CHUNK_ROWS}"), values)
        ledger = (
            "DELETE FROM load_ledger WHERE topic = :topic AND kafka_partition = :partition AND start_offset = :start"
        )
        connection.execute(text(ledger), values)
    return days


def _insert(connection: Connection, window: str, chunks: list[EnrichedChunk]) -> set[date]:
    files = [for_duckdb(chunk.path) for chunk in chunks if chunk.rows]
    if not files:
        return set()
    raw = duckdb_of(connection)
    columns = ", ".join(EVENT_SCHEMA.names)
    source = "read_parquet(?, hive_partitioning = false)"
    raw.execute(f"INSERT INTO usage_events (load_window, {columns}) SELECT ?, {columns} FROM {source}", [window, files])
    days = raw.execute(f"SELECT DISTINCT trading_day FROM {source}", [files]).fetchall()
    return {row[0] for row in days}


def _record(
    connection: Connection, window: str, chunks: list[EnrichedChunk], before: dict[tuple[int, int], _Loaded]
) -> None:
    raw, now = duckdb_of(connection), datetime.now(UTC)
    for chunk in chunks:
        r = chunk.record
        place = [window, r.topic, r.kafka_partition, r.start, r.end]
        known = before.get((r.kafka_partition, r.start))
        # Freshness counts from when a message could first be queried, not from when it was judged again.
        loaded_at = known.loaded_at if known else now
        offset_sum = raw.execute(OFFSET_SUM, place).fetchone()[0]
        row = [*place, chunk.rows, chunk.dead_letters, chunk.fingerprint, loaded_at, offset_sum]
        raw.execute("INSERT INTO load_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _count(connection: Connection, topic: str, window: str, share: Share) -> tuple[int, int]:
    """Rows of a window, and those of them that are of the share."""
    query = """
    SELECT count(*), count(*) FILTER (kafka_partition % :of = :number) FROM usage_events
    WHERE load_window = :window AND topic = :topic
    """
    rows, mine = connection.execute(text(query), _place(topic, window, share)).one()
    return rows, mine
