"""Rebuilds a lost or damaged offset record from its chunk, whose footer says what the record said."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkDamaged, read_chunk
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog, chunk_name
from usage_analytics.lake.layout import Layout


def rebuild_record(log: OffsetLog, layout: Layout, kafka_partition: int, start: int) -> ChunkRecord:
    """The record of the chunk that begins at an offset, in the log again; a damaged one is put aside.

    `UserError` unless just one sound chunk begins there, and it joins the records before and behind it.
    """
    place = f"topic {layout.topic!r}, Kafka partition {kafka_partition}, offset {start}"
    if log.is_sound(kafka_partition, start):
        raise UserError(f"{place}: its offset record is there and sound")
    before, after = log.around(kafka_partition, start)
    if before is None and after is None:
        raise UserError(f"{place}: no other record of this Kafka partition is left to prove what its chunk was")
    neighbour = after or before
    assert neighbour is not None
    name = chunk_name(layout.topic, kafka_partition, start)
    found, faults = [], []
    for path in sorted(layout.offsets.parent.glob(f"window=*/{name}+*.parquet")):
        window = path.parent.name.removeprefix("window=")
        try:
            found.append(_proved(path, window, layout.topic, kafka_partition, start, neighbour.topic_id))
        except (ChunkDamaged, OSError, KeyError, ValueError, pa.ArrowException) as fault:
            faults.append(f"{path.name}: {fault}")
    if len(found) != 1:
        why = f" ({'; '.join(faults)})" if faults else ""
        raise UserError(f"{place}: {len(found)} sound chunks begin there, one would prove the record{why}")
    [record] = found
    _refuse_unjoined(place, record, before, after)
    log.restore(record, before)
    return record


def _proved(
    path: Path, window: str, topic: str, kafka_partition: int, start: int, topic_id: str
) -> ChunkRecord:  # fmt: skip
    facts = {key.decode(): text.decode() for key, text in (pq.read_metadata(path).metadata or {}).items()}
    end, rows, checksum = int(facts["end_offset"]), int(facts["rows"]), facts["checksum"]
    record = ChunkRecord(topic, kafka_partition, start, end, rows, window, path.name, checksum, topic_id)
    record = replace(record, accepted_loss=facts.get("accepted_loss"))
    for batch in read_chunk(path, record):
        offsets = batch.column("kafka_offset")
        if offsets[0].as_py() < start or offsets[-1].as_py() >= end:
            raise ValueError(f"it holds offsets that are not in {start} to {end}")
    return record


def _refuse_unjoined(place: str, record: ChunkRecord, before: ChunkRecord | None, after: ChunkRecord | None) -> None:
    if before is not None and (before.end != record.start or before.window > record.window):
        raise UserError(
            f"{place}: the record before it ends at {before.end} in window {before.window}; rebuild from there"
        )
    if after is not None and (after.start != record.end or after.window < record.window):
        raise UserError(f"{place}: its chunk ends at {record.end}, but the next record begins at {after.start}")
    if after is not None and after.follows not in (None, record.start):
        raise UserError(f"{place}: the next record follows {after.follows}, not this one")
