"""Where usage events lie in the embedded warehouse: in two tiers behind one view.

*Fresh* rows stay in the Parquet files that enrichment has made, copied into a folder of the warehouse's own: while
messages pour in, none is unpacked and packed again. *Closed* rows are in DuckDB's own columns, in few and large pieces,
as history is best read. The view names its files one by one: it changes with the transaction that changes the ledger,
and a file that it does not name is no part of the warehouse.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from usage_analytics.tables import OF_CHUNK, USAGE_EVENTS, Column, Kind, Table, text
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles
from usage_analytics.warehouse.duckdb.session import DuckDBSession
from usage_analytics.warehouse.ledger import next_version

CLOSED = Table("usage_events_closed", USAGE_EVENTS.columns, USAGE_EVENTS.key, by_day=True)
FRESH = Table(
    "usage_events_fresh",
    (*OF_CHUNK, text("topic", 249), Column("kafka_partition", Kind.INT), text("days", 4_000), text("file", 500)),
    ("topic", "kafka_partition", "chunk_start"),
)
TIERS = (CLOSED, FRESH)
NAMES = ", ".join(USAGE_EVENTS.column_names())
FRESH_CHUNKS = f"""
SELECT load_window, chunk_start, topic, kafka_partition, days, file FROM {FRESH.name}
ORDER BY load_window, topic, kafka_partition, chunk_start
"""
OF_CHUNK_IN_LEDGER = """
load_window = :load_window AND topic = :topic AND kafka_partition = :kafka_partition AND start_offset = :chunk_start
"""


@dataclass(frozen=True)
class FreshChunk:
    """A chunk whose rows are fresh: its place, the trading days of its events, and its file."""

    load_window: str
    chunk_start: int
    topic: str
    kafka_partition: int
    days: frozenset[date]
    file: str


def fresh_chunks(session: DuckDBSession) -> list[FreshChunk]:
    """The fresh tier, in the order of windows."""
    return [
        FreshChunk(window, start, topic, partition, frozenset(map(date.fromisoformat, days.split())), file)
        for window, start, topic, partition, days, file in session.rows(FRESH_CHUNKS)
    ]


def add(session: DuckDBSession, chunk: FreshChunk) -> None:
    """Write a chunk into the fresh tier, within a transaction that makes the view anew."""
    names = FRESH.column_names()
    values = {name: getattr(chunk, name) for name in names}
    values["days"] = " ".join(sorted(map(str, chunk.days)))
    marks = ", ".join(f":{name}" for name in names)
    session.run(f"INSERT INTO {FRESH.name} ({', '.join(names)}) VALUES ({marks})", values)


def leave_out(session: DuckDBSession, fresh: FreshFiles, chunks: Iterable[FreshChunk]) -> None:
    """Take chunks out of the fresh tier, within a transaction."""
    unlist(session, chunks)
    show(session, fresh)


def unlist(session: DuckDBSession, chunks: Iterable[FreshChunk]) -> None:
    """As `leave_out`, within a transaction that makes the view anew."""
    for chunk in chunks:
        session.run(f"DELETE FROM {FRESH.name} WHERE file = :file", {"file": chunk.file})


def give_up(session: DuckDBSession, fresh: FreshFiles, chunks: Iterable[FreshChunk]) -> None:
    """Take chunks out whose files are lost, and out of the ledger, within a transaction.

    So they are loaded again as if they never had been: by the next run, or with their window. Marts of their trading
    days are stale meanwhile.
    """
    lost = list(chunks)
    for chunk in lost:
        place = {name: getattr(chunk, name) for name in ("load_window", "topic", "kafka_partition", "chunk_start")}
        session.run(f"DELETE FROM load_ledger WHERE {OF_CHUNK_IN_LEDGER}", place)
    for day in sorted({day for chunk in lost for day in chunk.days}):
        next_version(session, day)
    if lost:
        leave_out(session, fresh, lost)


def show(session: DuckDBSession, fresh: FreshFiles) -> None:
    """Make the view `usage_events` anew: after each change of the fresh tier, within its transaction."""
    query = view_of_tiers(fresh, [chunk.file for chunk in fresh_chunks(session)])
    session.run_natively(f"CREATE OR REPLACE VIEW {USAGE_EVENTS.name} AS {query}")


def view_of_tiers(fresh: FreshFiles, files: list[str]) -> str:
    """The query of the view."""
    closed = f"SELECT {NAMES} FROM {CLOSED.name}"
    return f"{closed} UNION ALL SELECT {NAMES} FROM {fresh.relation(files)}" if files else closed
