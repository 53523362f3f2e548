"""Rebuilds lost or damaged offset records from their chunks, whose footers say what the records said.

What a footer does not say is taken from the neighbours: the topic's id from the nearest record, the link from the one
before. Three things cannot be known. Where no record before is left, whether there ever was one: the link then names
the nearest chunk before, so that a loss there still shows, or nothing. Where none is left behind, whether the chunk was
committed at all or its run died just before: it is committed now, as the next run would have the same messages. Where
runs that died left several chunks of one start, which of them it was: they hold the same messages, so one that fits.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.errors import UserError
from usage_analytics.ingestion.beginnings import all_remembered
from usage_analytics.ingestion.chunk_file import ChunkDamaged, ContentChecksum, last_message, read_chunk
from usage_analytics.ingestion.offset_log import BEGINS, ChunkRecord, OffsetLog, chunk_name
from usage_analytics.lake.layout import Layout


def rebuild_records(log: OffsetLog, layout: Layout, kafka_partition: int, start: int) -> list[ChunkRecord]:
    """The records from an offset up to the next sound one, in the log again; damaged ones are put aside.

    `UserError`, and nothing is changed, unless sound chunks join the records before and behind. Of several that begin
    at one offset, one that does so is taken, or the longest where no record is left behind.
    """
    place = _place(layout, kafka_partition, start)
    if log.at(kafka_partition, start) is not None:
        raise UserError(f"{place}: its offset record is there and sound")
    before, after = log.around(kafka_partition, start)
    neighbour = after or before
    topic_id = neighbour.topic_id if neighbour is not None else _began_there(log, place, kafka_partition, start)
    if before is not None and before.end != start:
        raise UserError(f"{place}: the record before it ends at {before.end}; rebuild from there")
    found = _chain(layout, kafka_partition, start, topic_id, before, after)
    follows: int | None = BEGINS
    if neighbour is not None:
        follows = before.start if before is not None else _chunk_before(layout, kafka_partition, start)
    for record in found:
        log.restore(record, follows)
        follows = record.start
    return found


def _began_there(log: OffsetLog, place: str, kafka_partition: int, start: int) -> str:
    """The id of the topic whose Kafka partition began at an offset; `UserError` if that is not known."""
    of_records = log.topic_ids()
    found = {b.topic_id for b in all_remembered(log.folder) if b.of(kafka_partition) == start}
    found = found & of_records if of_records else found
    if len(found) != 1:
        raise UserError(f"{place}: no other record of this Kafka partition is left to prove what its chunk was")
    return found.pop()


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


def _chain(
    layout: Layout, kafka_partition: int, start: int, topic_id: str, before: ChunkRecord | None,
    after: ChunkRecord | None,
) -> list[ChunkRecord]:  # fmt: skip
    """One chunk after the other up to the record behind, or one where none is."""
    place = _place(layout, kafka_partition, start)
    faults: list[str] = []
    tried: set[str] = set()
    chain: list[ChunkRecord] = []

    @cache
    def chunks_at(offset: int) -> list[ChunkRecord]:
        found, broken = sound_chunks(layout, kafka_partition, offset, topic_id)
        if not found:
            why = f" ({'; '.join(broken)})" if broken else ""
            at = _place(layout, kafka_partition, offset)
            faults.append(f"{at}: no sound chunk begins there that would prove the record{why}")
        _refuse_different(layout, found)
        return sorted(found, key=lambda chunk: (chunk.accepted_loss is not None, -chunk.end, chunk.window))

    ways = [iter(chunks_at(start))]
    while ways:
        chunk = next(ways[-1], None)
        if chunk is None:  # none of them leads on
            ways.pop()
            chain = chain[:-1]
        elif (misfit := _misfit(chunk, chain[-1] if chain else before, after)) is not None:
            faults.append(f"{place}: {misfit}")
        elif chunk.file not in tried:
            tried.add(chunk.file)
            chain.append(chunk)
            if after is None or chunk.end == after.start:
                return chain
            ways.append(iter(chunks_at(chunk.end)))
    raise UserError(faults[0])


def _misfit(chunk: ChunkRecord, last: ChunkRecord | None, after: ChunkRecord | None) -> str | None:
    """What keeps a chunk from standing between two records; more chunks may come between it and the one behind."""
    if last is not None and last.window > chunk.window:
        return f"the chunk at {chunk.start} is of an older window than the one before it"
    if after is None or (chunk.end < after.start and chunk.window <= after.window):
        return None
    if chunk.end != after.start or chunk.window > after.window:
        next_one = f"the next record begins at {after.start} in window {after.window}"
        return f"the chunk ends at {chunk.end} in window {chunk.window}, but {next_one}"
    if after.follows not in (None, chunk.start):
        return f"the next record follows {after.follows}, not {chunk.start}"
    return None


def _refuse_different(layout: Layout, chunks: list[ChunkRecord]) -> None:
    """`UserError` if chunks of one start hold different messages of the offsets that they share."""
    of_messages = [chunk for chunk in chunks if chunk.accepted_loss is None]
    longest = max(of_messages, key=lambda chunk: chunk.end, default=None)
    for chunk in of_messages:
        if longest is not None and _content(layout, longest, chunk.end) != chunk.checksum:
            place = _place(layout, chunk.kafka_partition, chunk.start)
            raise UserError(
                f"{place}: {chunk.file} and {longest.file} hold different messages of the same offsets; "
                "move away the one that is not Kafka's"
            )


def _content(layout: Layout, chunk: ChunkRecord, end: int) -> str:
    """The checksum that a chunk would have if it ended sooner."""
    if end == chunk.end:
        return chunk.checksum
    content = ContentChecksum()
    for batch in read_chunk(layout.raw_chunk(chunk.window, chunk.file), chunk):
        rows = int(np.searchsorted(batch.column("kafka_offset").to_numpy(), end))
        if rows:
            content.update(batch.slice(0, rows))
    return content.hexdigest()


def _proved(
    path: Path, window: str, topic: str, kafka_partition: int, start: int, topic_id: str
) -> ChunkRecord:  # fmt: skip
    facts = {key.decode(): text.decode() for key, text in (pq.read_metadata(path).metadata or {}).items()}
    end, rows, checksum = int(facts["end_offset"]), int(facts["rows"]), facts["checksum"]
    record = ChunkRecord(topic, kafka_partition, start, end, rows, window, path.name, checksum, topic_id)
    record = replace(record, accepted_loss=facts.get("accepted_loss"))
    if end <= start:
        raise ValueError(f"it ends at {end}")
    ends_with = None
    for batch in read_chunk(path, record):
        ends_with = last_message(batch)
        offsets = batch.column("kafka_offset")
        if offsets[0].as_py() < start or offsets[-1].as_py() >= end:
            raise ValueError(f"it holds offsets that are not in {start} to {end}")
    return replace(record, ends_with=ends_with)


def _chunk_before(layout: Layout, kafka_partition: int, start: int) -> int | None:
    files = _files(layout, f"{layout.topic}+{kafka_partition:03d}+*+*")
    return max((begin for path in files if (begin := int(path.name.split("+")[-2])) < start), default=None)


def _files(layout: Layout, name: str) -> Iterator[Path]:
    return layout.offsets.parent.glob(f"window=*/{name}.parquet")


def _place(layout: Layout, kafka_partition: int, start: int) -> str:
    return f"topic {layout.topic!r}, Kafka partition {kafka_partition}, offset {start}"
