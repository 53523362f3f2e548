"""What has landed against Kafka itself, message by message, as far as Kafka still has it.

A message that the reader missed is in no record, chunk or table: its offset looks like one that a transaction took.
Only Kafka knows better.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from usage_analytics.ingestion.chunk_file import RAW_SCHEMA, ChunkDamaged, ContentChecksum, verify_chunk
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.ingestion.planning import MessageSource, Watermarks, refuse_recreated
from usage_analytics.lake.layout import Layout
from usage_analytics.reconciliation.offset_differences import OffsetDifference, located

COMPARED = ["kafka_offset", "key", "value"]  # what the checksum of a chunk is made of


@dataclass(frozen=True)
class Gone:
    """Messages of a chunk that Kafka no longer holds, within offsets ``[start, end)``: they cannot be compared."""

    kafka_partition: int
    start: int
    end: int
    messages: int


@dataclass(frozen=True)
class KafkaComparison:
    """How many of Kafka's messages were compared, where raw chunks differ from them, and what Kafka has deleted since.

    Kinds of differences: lost (Kafka has them, raw has not), different (in key or value), not as its record says.
    """

    messages: int
    differences: list[OffsetDifference]
    gone: list[Gone]


def compare_with_kafka(
    source: MessageSource, layout: Layout, records: Iterable[ChunkRecord], batch_messages: int
) -> KafkaComparison:
    """Read the offsets of chunks again from Kafka, and hold records and files against what it gives.

    Memory grows with the largest chunk. `UserError`: Kafka cannot be asked, or its topic is another one.
    """
    records = [record for record in records if record.accepted_loss is None]
    refuse_recreated(source, {record.topic_id for record in records})
    marks, messages = source.watermarks(), 0
    differences: list[OffsetDifference] = []
    gone: list[Gone] = []
    for record in records:
        held = marks.get(record.kafka_partition, Watermarks(0, 0))
        start, end = max(record.start, held.low), min(record.end, held.high)
        if start >= end:
            gone.append(Gone(record.kafka_partition, record.start, record.end, record.rows))
            continue
        batches = list(source.read(record.kafka_partition, start, end, batch_messages))
        messages += sum(batch.num_rows for batch in batches)
        path = layout.raw_chunk(record.window, record.file)
        if _checksum(batches) != record.checksum or not _is_sound(path, record):
            found, deleted = _compared(record, path, batches)
            differences += found
            gone += deleted
    return KafkaComparison(messages, differences, gone)


def _checksum(batches: list[pa.RecordBatch]) -> str:
    checksum = ContentChecksum()
    for batch in batches:
        checksum.update(batch)
    return checksum.hexdigest()


def _is_sound(path: Path, record: ChunkRecord) -> bool:
    try:
        verify_chunk(path, record)
    except ChunkDamaged:
        return False
    return True


def _compared(
    record: ChunkRecord, path: Path, batches: list[pa.RecordBatch]
) -> tuple[list[OffsetDifference], list[Gone]]:
    on_kafka = _messages(pa.Table.from_batches(batches, RAW_SCHEMA))
    try:
        in_raw = pl.read_parquet(path, columns=COMPARED, glob=False)
    except (OSError, pl.exceptions.PolarsError):  # as good as gone, and all its messages with it
        in_raw = on_kafka.clear()
    both = on_kafka.join(in_raw, on="kafka_offset", suffix="_in_raw")
    differs = pl.col("key").ne_missing(pl.col("key_in_raw")) | pl.col("value").ne_missing(pl.col("value_in_raw"))
    lost = on_kafka.join(in_raw, on="kafka_offset", how="anti")
    deleted = in_raw.join(on_kafka, on="kafka_offset", how="anti").get_column("kafka_offset").sort()
    kinds = {"lost": lost, "different": both.filter(differs)}
    found = located(record, "raw", {kind: rows["kafka_offset"].sort().to_numpy() for kind, rows in kinds.items()})
    if len(deleted):
        return found, [Gone(record.kafka_partition, deleted[0], deleted[-1] + 1, len(deleted))]
    if not found:
        place = (record.window, record.kafka_partition, record.start, record.end - 1)
        found = [OffsetDifference("raw", "not as its record says", *place, record.rows)]
    return found, []


def _messages(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table.select(COMPARED)))
