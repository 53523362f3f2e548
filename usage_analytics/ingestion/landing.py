"""Lands waiting messages as raw chunks, exactly once."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetConflict, OffsetLog, chunk_name
from usage_analytics.ingestion.planning import EVERYTHING, MessageSource, Ranges, Share, plan, refuse_recreated
from usage_analytics.ingestion.verification import verify_window
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import Window

GRACE = timedelta(minutes=15)  # a run that was queued just before its window ended still cuts into it


class Onlooker(Protocol):
    """Sees the messages of one chunk while they are being landed."""

    def see(self, batch: pa.RecordBatch) -> None: ...

    def committed(self, record: ChunkRecord) -> None:
        """The chunk counts; without this call it never did."""
        ...


Watch = Callable[[int], Onlooker]  # by Kafka partition, whoever is to see its next chunk


class Nobody:
    """Sees nothing."""

    def see(self, batch: pa.RecordBatch) -> None: ...

    def committed(self, record: ChunkRecord) -> None: ...


def nobody(kafka_partition: int) -> Onlooker:
    return Nobody()


@dataclass(frozen=True)
class Limits:
    """Bounds on what one run takes and holds."""

    messages_per_run: int
    chunk_messages: int
    chunk_bytes: int
    batch_messages: int


@dataclass(frozen=True)
class LandingReport:
    """What a run did to a window, or to a share of it."""

    landed: list[ChunkRecord] = field(default_factory=list)
    repaired: list[ChunkRecord] = field(default_factory=list)
    verified: int = 0

    @property
    def messages(self) -> int:
        return sum(record.rows for record in self.landed)

    def __add__(self, other: "LandingReport") -> "LandingReport":
        landed, repaired = self.landed + other.landed, self.repaired + other.repaired
        return LandingReport(landed, repaired, self.verified + other.verified)


@dataclass(frozen=True)
class Worker:
    """Lands offset ranges in a thread of its own: its connection to Kafka, and who looks on."""

    source: MessageSource
    watch: Watch = nobody


def land(
    workers: Sequence[Worker], log: OffsetLog, layout: Layout, window: Window, limits: Limits, now: datetime,
    share: Share = EVERYTHING,
) -> LandingReport:  # fmt: skip
    """Bring a share of a window up to date: the open one takes waiting messages, an older one is verified and repaired.

    Raises `UserError` where Kafka and the lake disagree (topic recreated, retention overtook us): nothing is cut then.
    Where one worker fails, the others finish what is theirs first.
    """
    if has_ended(window, now):
        work = partial(_verify, log, layout, window.key, limits.batch_messages)
        return _in_threads(work, workers, share.split(len(workers)))
    if now < window.end:
        _refuse_future(log, window)
    topic_id = workers[0].source.topic_id()
    ranges = plan(workers[0].source, log, limits.messages_per_run, share)
    work = partial(_land, log, layout, window.key, limits, topic_id)
    return _in_threads(work, workers, _dealt(ranges, len(workers)))


def _in_threads(
    work: Callable[[Worker, Any], LandingReport], workers: Sequence[Worker], loads: Sequence[Any]
) -> LandingReport:
    # Most of the work is done by libraries that let go of Python's interpreter.
    with ThreadPoolExecutor(len(workers), thread_name_prefix="landing") as pool:
        running = [pool.submit(work, worker, load) for worker, load in zip(workers, loads, strict=True)]
    return sum((done.result() for done in running), LandingReport())


def _dealt(ranges: Ranges, hands: int) -> list[Ranges]:
    """The ranges in so many loads of about the same size."""
    loads: list[Ranges] = [{} for _ in range(hands)]
    for kafka_partition, (start, end) in sorted(ranges.items(), key=lambda item: item[1][0] - item[1][1]):
        smallest = min(loads, key=lambda load: sum(end - start for start, end in load.values()))
        smallest[kafka_partition] = (start, end)
    return loads


def _verify(
    log: OffsetLog, layout: Layout, window: str, batch_messages: int, worker: Worker, share: Share
) -> LandingReport:
    done = verify_window(worker.source, log, layout, window, batch_messages, share)
    return LandingReport(repaired=done.repaired, verified=done.verified)


def _land(
    log: OffsetLog, layout: Layout, window: str, limits: Limits, topic_id: str, worker: Worker, ranges: Ranges
) -> LandingReport:
    report, lander = LandingReport(), _Lander(worker, log, layout, window, limits, topic_id)
    for kafka_partition, (start, end) in ranges.items():
        try:
            for record in lander.land(kafka_partition, start, end):
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


@dataclass(frozen=True)
class _Lander:
    """Lands offset ranges into one window."""

    worker: Worker
    log: OffsetLog
    layout: Layout
    window: str
    limits: Limits
    topic_id: str

    def land(self, kafka_partition: int, start: int, end: int) -> Iterator[ChunkRecord]:
        last = self.log.last(kafka_partition)
        if last is not None and last.window > self.window:
            return  # cut only forward: a newer window already has chunks of this Kafka partition
        chunk: _OpenChunk | None = None
        try:
            for batch in self.worker.source.read(kafka_partition, start, end, self.limits.batch_messages):
                chunk = chunk or _OpenChunk(self, kafka_partition, start)
                chunk.write(batch)
                start = batch.column("kafka_offset")[-1].as_py() + 1
                if chunk.is_full():
                    yield chunk.commit(start)
                    chunk = None
        except Exception:  # a long outage of Kafka would otherwise leave a file at every attempt
            if chunk is not None:
                chunk.writer.discard()
            raise
        if chunk is None and start < end:  # only offsets without messages are left: they too are accounted for
            chunk = _OpenChunk(self, kafka_partition, start)
        if chunk is not None:
            yield chunk.commit(end)


class _OpenChunk:
    """A chunk being written, under a name no other run uses."""

    def __init__(self, lander: _Lander, kafka_partition: int, start: int) -> None:
        self._lander, self._kafka_partition, self._start = lander, kafka_partition, start
        self._name = chunk_name(lander.worker.source.topic, kafka_partition, start)
        file = f"{self._name}+{uuid.uuid4().hex[:8]}.parquet"
        self.writer = ChunkWriter(lander.layout.raw_chunk(lander.window, file))
        self._onlooker = lander.worker.watch(kafka_partition)

    def write(self, batch: pa.RecordBatch) -> None:
        self.writer.write(batch)
        self._onlooker.see(batch)

    def is_full(self) -> bool:
        limits = self._lander.limits
        return self.writer.rows >= limits.chunk_messages or self.writer.bytes >= limits.chunk_bytes

    def commit(self, end: int) -> ChunkRecord:
        lander, log = self._lander, self._lander.log
        try:
            checksum = self.writer.close(end)
        except FileNotFoundError:  # swept away by the run that committed this start first
            last = log.last(self._kafka_partition)
            if last is None or last.end <= self._start:
                raise
            raise OffsetConflict(self._name) from None
        place = (lander.worker.source.topic, self._kafka_partition, self._start, end)
        file = self.writer.path.name
        record = ChunkRecord(*place, self.writer.rows, lander.window, file, checksum, lander.topic_id)
        try:
            refuse_recreated(lander.worker.source, {lander.topic_id})  # while its messages were being read
            log.commit(record)
        except (OffsetConflict, UserError):
            self.writer.path.unlink(missing_ok=True)
            raise
        self._sweep(record)
        self._onlooker.committed(record)
        return record

    def _sweep(self, record: ChunkRecord) -> None:
        # Files of the same start that lost the race or whose run died: their commit can no longer succeed.
        for path in self.writer.path.parent.glob(f"{record.name}+*.parquet"):
            if path.name != record.file:
                path.unlink(missing_ok=True)
