"""Holds what has landed against its records: chunks against their checksums, records against each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import write_again
from usage_analytics.ingestion.chunk_file import ChunkDamaged, ChunkWriter, verify_chunk
from usage_analytics.ingestion.offset_log import BEGINS, ChunkRecord
from usage_analytics.ingestion.planning import MessageSource
from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.lake.layout import Layout


def verify_chunks(
    source: MessageSource, layout: Layout, records: Iterable[ChunkRecord], batch_messages: int
) -> list[ChunkRecord]:
    """Check chunks against their records, read the damaged ones again from Kafka; those that were read again.

    History never shrinks: a range that Kafka no longer gives whole is a `UserError` that names topic, Kafka partition
    and offsets, and the record stays. An accepted loss needs no Kafka: its file holds nothing.
    """
    repaired = []
    for record in records:
        path = layout.raw_chunk(record.window, record.file)
        try:
            verify_chunk(path, record)
        except ChunkDamaged as damage:
            if record.accepted_loss is not None:
                write_again(path, record)
            else:
                _repair(source, path, record, batch_messages, damage)
            repaired.append(record)
    return repaired


def _repair(source: MessageSource, path: Path, record: ChunkRecord, batch_messages: int, damage: ChunkDamaged) -> None:
    place = f"topic {record.topic!r}, Kafka partition {record.kafka_partition}, offsets {record.start} to {record.end}"
    marks = source.watermarks(lambda number: number == record.kafka_partition).get(record.kafka_partition)
    if marks is None or marks.low > record.start or marks.high < record.end:
        held = f"{marks.low} to {marks.high}" if marks else "nothing of that partition"
        raise UserError(f"{damage}; it cannot be repaired, Kafka holds {held} of {place}")
    writer = ChunkWriter(temporary_beside(path))
    try:
        for batch in source.read(record.kafka_partition, record.start, record.end, batch_messages):
            writer.write(batch)
        checksum = writer.close(record.end)
    except BaseException:
        writer.discard()
        raise
    if checksum != record.checksum:
        writer.discard()
        raise UserError(f"{damage}; it cannot be repaired, Kafka now holds other messages for {place}")
    publish(writer.path, path)


@dataclass(frozen=True)
class TilingFault:
    """Offsets ``[start, end)`` that records of a Kafka partition skip (gap) or claim twice (overlap)."""

    kafka_partition: int
    start: int
    end: int
    kind: str

    def describe(self) -> str:
        return f"Kafka partition {self.kafka_partition}: {self.kind} {self.start} to {self.end}"


def tiling_faults(records: list[ChunkRecord]) -> list[TilingFault]:
    """Where consecutive records do not meet; empty when offsets tile."""
    faults = []
    for before, after in pairwise(records):
        if before.kafka_partition == after.kafka_partition and before.end != after.start:
            low, high = sorted((before.end, after.start))
            kind = "gap" if before.end < after.start else "overlap"
            faults.append(TilingFault(after.kafka_partition, low, high, kind))
    return faults


def lost_beginnings(firsts: Iterable[ChunkRecord]) -> list[TilingFault]:
    """Where the oldest record of a Kafka partition follows one that is no longer there."""
    return [
        TilingFault(first.kafka_partition, first.follows, first.start, "gap")
        for first in firsts
        if first.follows is not None and first.follows != BEGINS
    ]
