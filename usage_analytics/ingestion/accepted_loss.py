"""Accepts that Kafka deleted messages before they were landed, so that landing goes on after them.

A loss is a chunk without messages whose record says who accepted it, when and why: it stands in the chain for ever. It
has a file, so that enrichment, loading and rebuilding its record treat it as any chunk.
"""

import uuid
from collections.abc import Iterable
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.ingestion.beginnings import remembered
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.newer_windows import refuse_newer
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetConflict, OffsetLog, chunk_name
from usage_analytics.ingestion.planning import MessageSource, refuse_recreated
from usage_analytics.ingestion.record_rebuilding import sound_chunks
from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.lake.layout import Layout


def refuse_unless_lost(
    source: MessageSource, log: OffsetLog, layout: Layout, kafka_partition: int, start: int, end: int
) -> None:
    """`UserError` unless offsets ``[start, end)`` are exactly those that Kafka deleted before they were landed.

    Nor if the lake still has chunks of them, of which only the records were lost or never written.
    """
    landed = _landed(source, log, kafka_partition)
    marks = source.watermarks(lambda number: number == kafka_partition).get(kafka_partition)
    place = f"topic {source.topic!r}, Kafka partition {kafka_partition}"
    if landed is None or marks is None or marks.low <= landed:
        raise UserError(f"{place}: Kafka has deleted nothing that was not landed; there is no loss to accept")
    if (start, end) != (landed, marks.low):
        raise UserError(f"{place}: Kafka deleted offsets {landed} to {marks.low}, not {start} to {end}")
    found, _ = sound_chunks(layout, kafka_partition, start)
    kept = [chunk.end for chunk in found if chunk.accepted_loss is None]  # else left by one that died while accepting
    if kept:
        again = f"usage-analytics rebuild-offset-records --kafka-partition {kafka_partition} --from {start}"
        raise UserError(f"{place}: the lake still has offsets {start} to {max(kept)}, without a record: {again}")


def accept_loss(
    source: MessageSource, log: OffsetLog, layout: Layout, window: str, kafka_partition: int, start: int, end: int,
    accepted: str,
) -> ChunkRecord:  # fmt: skip
    """Commit the loss into a window; ``accepted`` says who accepted it, when and why.

    `UserError` as `refuse_unless_lost`, or where a run landed or accepted them meanwhile.
    """
    refuse_unless_lost(source, log, layout, kafka_partition, start, end)
    refuse_newer(log, window)
    name = chunk_name(source.topic, kafka_partition, start)
    writer = ChunkWriter(layout.raw_chunk(window, f"{name}+{uuid.uuid4().hex[:8]}.parquet"))
    try:
        checksum, topic_id = writer.close(end, accepted_loss=accepted), source.topic_id()
        place = (source.topic, kafka_partition, start, end, 0, window, writer.path.name)
        record = ChunkRecord(*place, checksum, topic_id, accepted_loss=accepted)
        log.commit(record)
    except OffsetConflict:
        writer.path.unlink(missing_ok=True)
        raise UserError(f"{name}: another run has just committed this offset; nothing was changed") from None
    return record


def _landed(source: MessageSource, log: OffsetLog, kafka_partition: int) -> int | None:
    """Where the next chunk begins; None where the lake knows nothing of the topic."""
    began = remembered(log.folder, refuse_recreated(source, log.topic_ids()))
    last = log.last(kafka_partition)
    if last is None:
        return None if began is None else began.of(kafka_partition)
    return last.end


def write_again(path: Path, record: ChunkRecord) -> None:
    """The file of a loss, as its record says, without Kafka: it holds nothing that could be read again."""
    writer = ChunkWriter(temporary_beside(path))
    writer.close(record.end, accepted_loss=str(record.accepted_loss))
    publish(writer.path, path)


def in_words(records: Iterable[ChunkRecord]) -> list[str]:
    """The losses among records, in words."""
    return [
        f"Kafka partition {r.kafka_partition}, offsets {r.start} to {r.end} ({r.end - r.start:,}), window {r.window}: "
        f"an accepted loss, {r.accepted_loss}"
        for r in records
        if r.accepted_loss is not None
    ]
