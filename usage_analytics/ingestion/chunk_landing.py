"""Lands one offset range at a time: chunk after chunk, each committed by its record."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.continuation import read_on
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetConflict, OffsetLog, chunk_name
from usage_analytics.ingestion.planning import MessageSource, refuse_recreated
from usage_analytics.ingestion.range_reader import Undeliverable
from usage_analytics.lake.layout import Layout


class ChunkObserver(Protocol):
    """Sees the messages of one chunk while they are being landed."""

    def see(self, batch: pa.RecordBatch) -> None: ...

    def committed(self, record: ChunkRecord) -> None:
        """The chunk counts; without this call it never did."""
        ...


@dataclass(frozen=True)
class Worker:
    """Lands offset ranges in a thread of its own: its connection to Kafka, and what observes its chunks.

    ``observe`` gives, by Kafka partition, the observer of the next chunk, or None.
    """

    source: MessageSource
    observe: Callable[[int], ChunkObserver | None] = lambda kafka_partition: None


@dataclass(frozen=True)
class Limits:
    """Bounds on what one run takes and holds."""

    messages_per_run: int
    chunk_messages: int
    chunk_bytes: int
    batch_messages: int
    threads: int = 1
    longest_s: float = (
        240.0  # then no further chunk is begun, so that what has landed is loaded before a run's time ends
    )


@dataclass(frozen=True)
class Lander:
    """Lands offset ranges into one window, until ``stop`` is set; begins no further chunk after ``until``."""

    worker: Worker
    log: OffsetLog
    layout: Layout
    window: str
    limits: Limits
    topic_id: str
    stop: threading.Event
    until: float

    def land(self, kafka_partition: int, start: int, end: int) -> Iterator[ChunkRecord]:
        """The chunks of a range, as they are committed; `OffsetConflict` where another run lands it too.

        `LeftAlone` where Kafka does not go on where the lake ends, or, after what comes before is committed, where it
        cannot deliver a message.
        """
        last = self.log.last(kafka_partition)
        if last is not None and last.window > self.window:
            return  # cut only forward: a newer window already has chunks of this Kafka partition
        chunk: _OpenChunk | None = None
        waiting = (self.worker.source, self.log, self.layout, kafka_partition, start, end, self.limits.batch_messages)
        batches = _UntilUndeliverable(read_on(*waiting))
        try:
            for batch in batches:
                if self.stop.is_set():
                    raise UserError("landing was interrupted; what is not committed is landed by the next run")
                chunk = chunk or _OpenChunk(self, kafka_partition, start)
                chunk.write(batch)
                start = batch.column("kafka_offset")[-1].as_py() + 1
                if chunk.is_full():
                    yield chunk.commit(start)
                    chunk = None
                    if self.is_late():
                        return
            end = start if batches.refusal is not None else end
            if chunk is None and start < end:  # only offsets without messages are left: they too are accounted for
                chunk = _OpenChunk(self, kafka_partition, start)
            if chunk is not None:
                yield chunk.commit(end)
        except Exception:  # a long outage of Kafka, or a full disk, would otherwise leave a file at every attempt
            if chunk is not None and not chunk.is_committed:
                chunk.discard()
            raise
        if batches.refusal is not None:
            raise batches.refusal

    def is_late(self) -> bool:
        """Whether the run has landed for as long as it may."""
        return time.monotonic() > self.until


class _UntilUndeliverable:
    """Batches up to where Kafka answers with an error; what comes before it is whole."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.refusal: Undeliverable | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except Undeliverable as error:
            self.refusal = error


class _OpenChunk:
    """A chunk being written, under a name no other run uses."""

    def __init__(self, lander: Lander, kafka_partition: int, start: int) -> None:
        self._lander, self._kafka_partition, self._start = lander, kafka_partition, start
        self._name = chunk_name(lander.worker.source.topic, kafka_partition, start)
        file = f"{self._name}+{uuid.uuid4().hex[:8]}.parquet"
        self._writer = ChunkWriter(lander.layout.raw_chunk(lander.window, file))
        self._observer = lander.worker.observe(kafka_partition)
        self.is_committed = False

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write(batch)
        if self._observer is not None:
            self._observer.see(batch)

    def is_full(self) -> bool:
        limits = self._lander.limits
        return self._writer.rows >= limits.chunk_messages or self._writer.bytes >= limits.chunk_bytes

    def discard(self) -> None:
        self._writer.discard()

    def commit(self, end: int) -> ChunkRecord:
        lander = self._lander
        try:
            checksum = self._writer.close(end)
        except FileNotFoundError:  # swept away by the run that committed this start first
            last = lander.log.last(self._kafka_partition)
            if last is None or last.end <= self._start:
                raise
            raise OffsetConflict(self._name) from None
        place = (lander.worker.source.topic, self._kafka_partition, self._start, end)
        file = self._writer.path.name
        record = ChunkRecord(*place, self._writer.rows, lander.window, file, checksum, lander.topic_id)
        record = replace(record, ends_with=self._writer.ends_with)
        refuse_recreated(lander.worker.source, {lander.topic_id})  # while its messages were being read
        lander.log.commit(record)
        self.is_committed = True
        if self._observer is not None:
            self._observer.committed(record)
        return record
