"""Holds what has landed against its records: chunks against their checksums, records against each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from usage_analytics.errors import UserError
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
    and offsets, and the record stays.
    """
    repaired = []
    for record in records:
        try:
            verify_chunk(layout.raw_chunk(record.window, record.file), record)
        except ChunkDamaged as damage:
            _repair(source, layout, record, batch_messages, damage)
            repaired.append(record)
    return repaired


def _repair(
    source: MessageSource, layout: Layout, record: ChunkRecord, batch_messages: int, damage: ChunkDamaged
) -> None:
    place = f"topic {record.topic!r}, Kafka partition {record.kafka_partition}, offsets {record.start} to {record.end}"
    marks = source.watermarks().get(record.kafka_partition)
    if marks is None or marks.low > record.start or marks.high < record.end:
        held = f"{marks.low} to {marks.high}" if marks else "nothing of that partition"
        raise UserError(f"{damage}; it cannot be repaired, Kafka holds {held} of {place}")
    path = layout.raw_chunk(record.window, record.file)
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


def accepted_losses(records: Iterable[ChunkRecord]) -> list[str]:
    """The losses that someone accepted, in words."""
    return [
        f"Kafka partition {r.kafka_partition}, offsets {r.start} to {r.end}, window {r.window}: an accepted loss, "
        f"{r.accepted_loss}"
        for r in records
        if r.accepted_loss is not None
    ]


def lost_beginnings(firsts: Iterable[ChunkRecord]) -> list[TilingFault]:
    """Where the oldest record of a Kafka partition follows one that is no longer there."""
    return [
        TilingFault(first.kafka_partition, first.follows, first.start, "gap")
        for first in firsts
        if first.follows is not None and first.follows != BEGINS
    ]
