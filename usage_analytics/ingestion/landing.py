"""Lands waiting messages as raw chunks, exactly once; verifies and repairs what already landed."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkDamaged, ChunkWriter, verify_chunk
from usage_analytics.ingestion.kafka_source import Watermarks
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetConflict, OffsetLog, chunk_name
from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import Window

GRACE = timedelta(minutes=15)  # a run that was queued just before its window ended still cuts into it


class MessageSource(Protocol):
    """Where messages come from: what it holds, and any range of it."""

    topic: str

    def topic_id(self) -> str: ...

    def watermarks(self) -> dict[int, Watermarks]: ...

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True)
class Limits:
    """Bounds on what one run takes and holds."""

    messages_per_run: int
    chunk_messages: int
    chunk_bytes: int
    batch_messages: int


@dataclass
class LandingReport:
    """What a run did to a window."""

    landed: list[ChunkRecord] = field(default_factory=list)
    repaired: list[ChunkRecord] = field(default_factory=list)
    verified: int = 0
    open: bool = True

    @property
    def messages(self) -> int:
        return sum(record.rows for record in self.landed)


def land(
    source: MessageSource, log: OffsetLog, layout: Layout, window: Window, limits: Limits, now: datetime
) -> LandingReport:
    """Bring a window up to date: the open one takes waiting messages, an older one is verified and repaired.

    Raises `UserError` where Kafka and the lake disagree (topic recreated, retention overtook us): nothing is cut then.
    """
    if has_ended(window, now):
        return verify_window(source, log, layout, window.key, limits)
    if now < window.end:
        _refuse_future(log, window)
    report = LandingReport()
    topic_id = source.topic_id()
    for kafka_partition, (start, end) in plan(source, log, limits.messages_per_run).items():
        try:
            for record in _land_range(source, log, layout, window.key, topic_id, kafka_partition, start, end, limits):
                report.landed.append(record)
        except OffsetConflict:
            continue  # another run is landing this Kafka partition; what it leaves, the next run takes
    return report


def has_ended(window: Window, now: datetime) -> bool:
    """Whether a window takes no more messages: it is verified and repaired instead."""
    return now >= window.end + GRACE


def _refuse_future(log: OffsetLog, window: Window) -> None:
    # Cutting only forward would otherwise land nothing, in silence, until the clock has caught up.
    for kafka_partition in log.kafka_partitions():
        last = log.last(kafka_partition)
        if last is not None and last.window > window.key:
            place = f"Kafka partition {kafka_partition} has chunks in window {last.window}"
            raise UserError(f"{place}, but by the clock the open window is {window.key}: the clock stepped back")


def plan(source: MessageSource, log: OffsetLog, budget: int) -> dict[int, tuple[int, int]]:
    """The offset range to land of each Kafka partition that has waiting messages, the budget shared fairly."""
    lasts = log.lasts()
    _refuse_recreated(source, {last.topic_id for last in lasts.values()})
    waiting = {}
    for kafka_partition, marks in source.watermarks().items():
        start = lasts[kafka_partition].end if kafka_partition in lasts else marks.low
        _refuse_disagreement(source.topic, kafka_partition, start, marks)
        if marks.high > start:
            waiting[kafka_partition] = (start, marks.high)
    ranges = {}
    by_size = sorted(waiting.items(), key=lambda item: item[1][1] - item[1][0])
    for position, (kafka_partition, (start, high)) in enumerate(by_size):
        share = max(1, budget // (len(by_size) - position))
        end = min(high, start + share)
        budget = max(0, budget - (end - start))
        ranges[kafka_partition] = (start, end)
    return dict(sorted(ranges.items()))


def _refuse_recreated(source: MessageSource, known: set[str]) -> None:
    # Offsets alone do not tell: a recreated topic that has grown past the committed offset would lose its beginning.
    found = source.topic_id()
    others = known - {found, ""}
    if found and others:
        raise UserError(
            f"topic {source.topic!r} is not the one the lake holds messages of: it was deleted and created again, or "
            f"this is another cluster (topic id {found}, the lake's is {', '.join(sorted(others))}); "
            "give it its own USAGE_ANALYTICS_TOPIC or HOME"
        )


def _refuse_disagreement(topic: str, kafka_partition: int, committed: int, marks: Watermarks) -> None:
    place = f"topic {topic!r}, Kafka partition {kafka_partition}"
    if marks.high < committed:
        raise UserError(
            f"{place}: the lake holds messages up to offset {committed}, but Kafka ends at {marks.high}; the topic was "
            "created again or this is another cluster (give it its own USAGE_ANALYTICS_TOPIC or HOME)"
        )
    if marks.low > committed:
        raise UserError(
            f"{place}: Kafka deleted offsets {committed} to {marks.low} before they were landed; nothing was skipped"
        )


def _land_range(
    source: MessageSource, log: OffsetLog, layout: Layout, window: str, topic_id: str,
    kafka_partition: int, start: int, end: int, limits: Limits,
) -> Iterator[ChunkRecord]:  # fmt: skip
    last = log.last(kafka_partition)
    if last is not None and last.window > window:
        return  # cut only forward: a newer window already has chunks of this Kafka partition
    chunk: _OpenChunk | None = None
    try:
        for batch in source.read(kafka_partition, start, end, limits.batch_messages):
            chunk = chunk or _OpenChunk(layout, source, topic_id, kafka_partition, start, window)
            chunk.writer.write(batch)
            start = batch.column("kafka_offset")[-1].as_py() + 1
            if chunk.writer.rows >= limits.chunk_messages or chunk.writer.bytes >= limits.chunk_bytes:
                yield chunk.commit(log, start)
                chunk = None
    except Exception:  # a long outage of Kafka would otherwise leave a file at every attempt
        if chunk is not None:
            chunk.writer.discard()
        raise
    if chunk is None and start < end:  # only offsets without messages are left: they too are accounted for
        chunk = _OpenChunk(layout, source, topic_id, kafka_partition, start, window)
    if chunk is not None:
        yield chunk.commit(log, end)


class _OpenChunk:
    """A chunk being written, under a name no other run uses."""

    def __init__(
        self, layout: Layout, source: MessageSource, topic_id: str, kafka_partition: int, start: int, window: str
    ) -> None:
        file = f"{chunk_name(source.topic, kafka_partition, start)}+{uuid.uuid4().hex[:8]}.parquet"
        self.source, self.topic_id = source, topic_id
        self.kafka_partition, self.start, self.window = kafka_partition, start, window
        self.writer = ChunkWriter(layout.raw_chunk(window, file))

    def commit(self, log: OffsetLog, end: int) -> ChunkRecord:
        try:
            checksum = self.writer.close(end)
        except FileNotFoundError:  # swept away by the run that committed this start first
            last = log.last(self.kafka_partition)
            if last is None or last.end <= self.start:
                raise
            raise OffsetConflict(chunk_name(self.source.topic, self.kafka_partition, self.start)) from None
        place = (self.source.topic, self.kafka_partition, self.start, end)
        record = ChunkRecord(*place, self.writer.rows, self.window, self.writer.path.name, checksum, self.topic_id)
        try:
            _refuse_recreated(self.source, {self.topic_id})  # while its messages were being read
            log.commit(record)
        except (OffsetConflict, UserError):
            self.writer.path.unlink(missing_ok=True)
            raise
        self._sweep(record)
        return record

    def _sweep(self, record: ChunkRecord) -> None:
        # Files of the same start that lost the race or whose run died: their commit can no longer succeed.
        for path in self.writer.path.parent.glob(f"{record.name}+*.parquet"):
            if path.name != record.file:
                path.unlink(missing_ok=True)


def verify_window(source: MessageSource, log: OffsetLog, layout: Layout, window: str, limits: Limits) -> LandingReport:
    """Check each chunk of a window against its record; read the damaged ones again from Kafka.

    History never shrinks: a range that Kafka no longer gives whole is a `UserError` that names topic, Kafka partition
    and offsets, and the record stays.
    """
    report = LandingReport(open=False)
    for record in log.of_window(window):
        try:
            verify_chunk(layout.raw_chunk(window, record.file), record, limits.batch_messages)
        except ChunkDamaged as damage:
            _repair(source, layout, record, limits, damage)
            report.repaired.append(record)
        report.verified += 1
    return report


def _repair(source: MessageSource, layout: Layout, record: ChunkRecord, limits: Limits, damage: ChunkDamaged) -> None:
    place = f"topic {record.topic!r}, Kafka partition {record.kafka_partition}, offsets {record.start} to {record.end}"
    marks = source.watermarks().get(record.kafka_partition)
    if marks is None or marks.low > record.start or marks.high < record.end:
        held = f"{marks.low} to {marks.high}" if marks else "nothing of that partition"
        raise UserError(f"{damage}; it cannot be repaired, Kafka holds {held} of {place}")
    path = layout.raw_chunk(record.window, record.file)
    writer = ChunkWriter(temporary_beside(path))
    try:
        for batch in source.read(record.kafka_partition, record.start, record.end, limits.batch_messages):
            writer.write(batch)
    except BaseException:
        writer.discard()
        raise
    if writer.close(record.end) != record.checksum:
        writer.path.unlink()
        raise UserError(f"{damage}; it cannot be repaired, Kafka now holds other messages for {place}")
    publish(writer.path, path)


@dataclass(frozen=True)
class TilingFault:
    """Offsets ``[start, end)`` that records of a Kafka partition skip (gap) or claim twice (overlap)."""

    kafka_partition: int
    start: int
    end: int
    kind: str


def tiling_faults(records: list[ChunkRecord]) -> list[TilingFault]:
    """Where consecutive records do not meet; empty when offsets tile."""
    faults = []
    for before, after in pairwise(records):
        if before.kafka_partition == after.kafka_partition and before.end != after.start:
            low, high = sorted((before.end, after.start))
            kind = "gap" if before.end < after.start else "overlap"
            faults.append(TilingFault(after.kafka_partition, low, high, kind))
    return faults
