"""Rebuilds lost or damaged offset records from their chunks, whose footers say what the records said.

What a footer does not say is taken from the neighbours: the topic's id from the nearest record, the link from the one
before. Two things cannot be known. Where no record before is left, whether there ever was one: the link then names the
nearest chunk before, so that a loss there still shows, or nothing. Where none is left behind, whether the chunk was
committed at all or its run died just before: it is committed now, as the next run would have the same messages.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkDamaged, read_chunk
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog, chunk_name
from usage_analytics.lake.layout import Layout


def rebuild_records(log: OffsetLog, layout: Layout, kafka_partition: int, start: int) -> list[ChunkRecord]:
    """The records from an offset up to the next sound one, in the log again; damaged ones are put aside.

    `UserError`, and nothing is changed, unless at each offset just one sound chunk begins, and together they join the
    records before and behind.
    """
    place = _place(layout, kafka_partition, start)
    if log.at(kafka_partition, start) is not None:
        raise UserError(f"{place}: its offset record is there and sound")
    before, after = log.around(kafka_partition, start)
    neighbour = after or before
    if neighbour is None:
        raise UserError(f"{place}: no other record of this Kafka partition is left to prove what its chunk was")
    if before is not None and before.end != start:
        raise UserError(f"{place}: the record before it ends at {before.end}; rebuild from there")
    found: list[ChunkRecord] = []
    for record in _chain(layout, kafka_partition, start, neighbour.topic_id):
        last = found[-1] if found else before
        if last is not None and last.window > record.window:
            raise UserError(f"{place}: the chunk at {record.start} is of an older window than the one before it")
        found.append(record)
        if after is None or record.end >= after.start:
            break
    _refuse_unjoined(place, found[-1], after)
    follows = before.start if before is not None else _chunk_before(layout, kafka_partition, start)
    for record in found:
        log.restore(record, follows)
        follows = record.start
    return found


def sound_chunks(
    layout: Layout, kafka_partition: int, start: int, topic_id: str = ""
) -> tuple[list[ChunkRecord], list[str]]:
    """The records that sound chunks which begin at an offset would have; and what is the matter with other files."""
    found, faults = [], []
    for path in sorted(_files(layout, f"{chunk_name(layout.topic, kafka_partition, start)}+*")):
        window = path.parent.name.removeprefix("window=")
        try:
            found.append(_proved(path, window, layout.topic, kafka_partition, start, topic_id))
        except KeyError as missing:
            faults.append(f"{path.name}: its footer has no {missing}")
        except (ChunkDamaged, OSError, ValueError, pa.ArrowException) as fault:
            faults.append(f"{path.name}: {fault}")
    return found, faults


def _chain(layout: Layout, kafka_partition: int, start: int, topic_id: str) -> Iterator[ChunkRecord]:
    while True:
        found, faults = sound_chunks(layout, kafka_partition, start, topic_id)
        if len(found) != 1:
            place, why = _place(layout, kafka_partition, start), f" ({'; '.join(faults)})" if faults else ""
            raise UserError(f"{place}: {len(found)} sound chunks begin there, one would prove the record{why}")
        yield found[0]
        start = found[0].end


def _proved(
    path: Path, window: str, topic: str, kafka_partition: int, start: int, topic_id: str
) -> ChunkRecord:  # fmt: skip
    facts = {key.decode(): text.decode() for key, text in (pq.read_metadata(path).metadata or {}).items()}
    end, rows, checksum = int(facts["end_offset"]), int(facts["rows"]), facts["checksum"]
    record = ChunkRecord(topic, kafka_partition, start, end, rows, window, path.name, checksum, topic_id)
    record = replace(record, accepted_loss=facts.get("accepted_loss"))
    if end <= start:
        raise ValueError(f"it ends at {end}")
    for batch in read_chunk(path, record):
        offsets = batch.column("kafka_offset")
        if offsets[0].as_py() < start or offsets[-1].as_py() >= end:
            raise ValueError(f"it holds offsets that are not in {start} to {end}")
    return record


def _refuse_unjoined(place: str, record: ChunkRecord, after: ChunkRecord | None) -> None:
    if after is None:
        return
    if after.start != record.end or after.window < record.window:
        next_one = f"the next record begins at {after.start} in window {after.window}"
        raise UserError(f"{place}: the chunk ends at {record.end} in window {record.window}, but {next_one}")
    if after.follows not in (None, record.start):
        raise UserError(f"{place}: the next record follows {after.follows}, not {record.start}")


def _chunk_before(layout: Layout, kafka_partition: int, start: int) -> int | None:
    files = _files(layout, f"{layout.topic}+{kafka_partition:03d}+*+*")
    return max((begin for path in files if (begin := int(path.name.split("+")[-2])) < start), default=None)


def _files(layout: Layout, name: str) -> Iterator[Path]:
    return layout.offsets.parent.glob(f"window=*/{name}.parquet")


def _place(layout: Layout, kafka_partition: int, start: int) -> str:
    return f"topic {layout.topic!r}, Kafka partition {kafka_partition}, offset {start}"
