"""Decides what loading a window must change: the same for every column store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
import pyarrow.parquet as pq

from usage_analytics.enrichment.enriched_chunk import EVENT_SCHEMA, EnrichedChunk, verify_events
from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import Share
from usage_analytics.warehouse.ledger import NOTHING, LoadedChunk, altered, held, loaded_chunks
from usage_analytics.warehouse.session import Session

# Of the window itself, all that begins before its chunks do: chunks that were cut anew may replace only what they hold.
OVERLAPPING = """
SELECT load_window, start_offset, end_offset FROM load_ledger
WHERE topic = :topic AND kafka_partition = :kafka_partition AND (
  load_window <> :load_window AND start_offset < :end_offset AND end_offset > :start_offset
  OR load_window = :load_window AND start_offset < :start_offset
)
ORDER BY load_window, start_offset
"""


@dataclass(frozen=True)
class NewChunk:
    """A chunk that is to be loaded, and the trading days of its events.

    ``row``: its ledger row to be; ``loaded_us`` is 0 unless it was loaded before.
    """

    chunk: EnrichedChunk
    row: LoadedChunk
    days: frozenset[date]


@dataclass(frozen=True)
class LoadPlan:
    """What is to be taken out, what to be put in, and how many chunks are already as they should be."""

    stale: list[LoadedChunk]
    new: list[NewChunk]
    kept: int
    expected_rows: int  # of all chunks of the share, when it is done


def plan_load(
    session: Session, rebuild: str, topic: str, window: str, chunks: Iterable[EnrichedChunk], share: Share
) -> LoadPlan:
    """Compare the ledger with a share of the window's chunks. What is to be loaded is read whole, and checked."""
    given = list(chunks)
    if any(not share.takes(chunk.record.kafka_partition) for chunk in given):
        raise ValueError(f"chunks of other shares than {share}")
    _refuse_overlaps(session, rebuild, topic, window, given)
    wanted = {(chunk.record.kafka_partition, chunk.record.start): chunk for chunk in given}
    known = {(row.kafka_partition, row.start_offset): row for row in loaded_chunks(session, topic, share, window)}
    there = held(session, topic, share, window) if known else {}
    stale = [
        row for key, row in known.items()
        if altered(row, there.get(key, NOTHING)) or not _is_of(row, wanted.get(key))
    ]  # fmt: skip
    taken_out = {(row.kafka_partition, row.start_offset) for row in stale}
    new = [chunk for key, chunk in wanted.items() if key not in known or key in taken_out]
    # Freshness counts from when a message could first be queried, not from when it was judged again.
    times = {key: row.loaded_us for key, row in known.items()}
    planned = [_examined(chunk, window, times.get((chunk.record.kafka_partition, chunk.record.start))) for chunk in new]
    return LoadPlan(stale, planned, len(given) - len(planned), sum(chunk.rows for chunk in given))


def _is_of(row: LoadedChunk, chunk: EnrichedChunk | None) -> bool:
    loaded = (row.end_offset, row.row_count, row.fingerprint)
    return chunk is not None and loaded == (chunk.record.end, chunk.rows, chunk.fingerprint)


def _examined(chunk: EnrichedChunk, window: str, first_loaded_us: int | None) -> NewChunk:
    verify_events(chunk)  # a column store would load what a changed byte makes of a file
    _refuse_other_columns(chunk)
    events = pl.read_parquet(chunk.path, columns=["trading_day", "kafka_offset"], hive_partitioning=False, glob=False)
    r = chunk.record
    offset_sum = int(events.get_column("kafka_offset").cast(pl.Int128).sum()) if events.height else 0
    days = frozenset(events.get_column("trading_day").unique().to_list())
    span = (min(days), max(days)) if days else (None, None)
    place = (window, r.topic, r.kafka_partition, r.start, r.end)
    row = LoadedChunk(
        *place, chunk.rows, chunk.dead_letters, chunk.fingerprint, first_loaded_us or 0, offset_sum, *span
    )
    return NewChunk(chunk, row, days)


def _refuse_other_columns(chunk: EnrichedChunk) -> None:
    # Synapse takes columns by their position, DuckDB would find out in the middle of a load.
    found, wanted = pq.read_schema(chunk.path), EVENT_SCHEMA
    for position, (name, field) in enumerate(zip(found.names, found, strict=True)):
        if position >= len(wanted):
            raise UserError(f"{chunk.path}: column {position + 1} {name!r} is not one of usage_events'")
        want = wanted.field(position)
        if (name, field.type) != (want.name, want.type):
            raise UserError(
                f"{chunk.path}: column {position + 1} is {name!r} of type {field.type}, where usage_events has "
                f"{want.name!r} of type {want.type}; materialize usage_events of its window again"
            )
    if len(found) < len(wanted):
        lacked = f"there is no column {wanted.names[len(found)]!r}"
        raise UserError(f"{chunk.path}: {lacked}; materialize usage_events of its window again")


def _refuse_overlaps(session: Session, rebuild: str, topic: str, window: str, chunks: Sequence[EnrichedChunk]) -> None:
    # A lake that lost records lands the same offsets again, cut otherwise: they would be counted twice.
    for partition in sorted({chunk.record.kafka_partition for chunk in chunks}):
        mine = [chunk.record for chunk in chunks if chunk.record.kafka_partition == partition]
        start, end = min(r.start for r in mine), max(r.end for r in mine)
        place = {"topic": topic, "kafka_partition": partition, "start_offset": start, "end_offset": end}
        found = session.rows(OVERLAPPING, {**place, "load_window": window})
        if not found:
            continue
        others = sorted({row[0] for row in found} - {window})
        first, last = min(row[1] for row in found), max(row[2] for row in found)
        where = f"topic {topic!r}, Kafka partition {partition}, offsets {start} to {end} of window {window}"
        if others:
            windows = ", ".join(others)
            raise UserError(
                f"{where}: the warehouse already holds offsets {first} to {last} from window {windows}, of which the "
                f"lake has lost the records; restore the lake, or materialize loaded_events of window {windows} first, "
                "which takes out what the lake holds elsewhere"
            )
        raise UserError(
            f"{where}: the warehouse already holds offsets {first} to {last} from it, and would lose those before "
            f"{start}, of which the lake has lost the records; restore the lake, or {rebuild}"
        )
