"""Hand-written stand-ins: a Kafka topic in memory, and chunks made without one."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from usage_analytics.enrichment.enriched_chunk import (
    DEAD_LETTER_SCHEMA,
    EVENT_SCHEMA,
    EnrichedChunk,
    write_enriched,
)
from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import accept_loss
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA, read_chunk
from usage_analytics.ingestion.chunk_landing import Limits, Worker
from usage_analytics.ingestion.landing import Hire, land
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog, chunk_name
from usage_analytics.ingestion.planning import Held, MessageSource, Takes, Watermarks
from usage_analytics.ingestion.range_reader import Undeliverable
from usage_analytics.ingestion.record_rebuilding import rebuild_records
from usage_analytics.ingestion.shares import EVERYTHING
from usage_analytics.lake.layout import Layout
from usage_analytics.reconciliation.hop_counts import unfinished_chunks
from usage_analytics.trading_calendar import Window
from usage_analytics.warehouse.protocol import Warehouse

TOPIC = "clicks"
AMPLE = Limits(messages_per_run=10**6, chunk_messages=10**6, chunk_bytes=2**30, batch_messages=1_000)
KEY = b"a key of tests, long enough"
RECEIVED = datetime(2026, 11, 23, 15, tzinfo=UTC)
OPEN = Window(datetime(2026, 11, 23, 15, tzinfo=UTC), datetime(2026, 11, 23, 15, 15, tzinfo=UTC), "2026-11-23T1000")


class Crash(BaseException):
    """The process dies here; nothing may catch it."""


def memory_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where the machine has one."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


@dataclass
class FakePartition:
    """Messages by offset; ``high`` may run ahead of them, as transaction markers and compaction make it do."""

    messages: dict[int, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    low: int = 0
    high: int = 0
    received_us: dict[int, int | None] = field(default_factory=dict)


@dataclass
class FakeKafka:
    """A `MessageSource` in memory, with what goes wrong at a real one."""

    kafka_partitions: dict[int, FakePartition]
    topic: str = TOPIC
    identity: str = "first"
    received: datetime | None = RECEIVED
    unanswered: dict[int, str] = field(default_factory=dict)  # what is told of those that cannot be asked
    undeliverable: dict[int, int] = field(default_factory=dict)  # by Kafka partition, an offset that is damaged
    after_batch: Callable[[int], None] = lambda number: None  # may raise `Crash`, or let another run pass by

    @classmethod
    def of(cls, count: int) -> "FakeKafka":
        return cls({number: FakePartition() for number in range(count)})

    def produce(self, kafka_partition: int, *values: bytes | None, key: bytes | None = None) -> None:
        held = self.kafka_partitions[kafka_partition]
        for value in values:
            held.messages[held.high] = (key, value)
            held.received_us[held.high] = None if self.received is None else int(self.received.timestamp() * 1e6)
            held.high += 1

    def cut_short(self, kafka_partition: int, high: int) -> None:
        """The end of a log is lost; what is produced next takes its offsets."""
        held = self.kafka_partitions[kafka_partition]
        held.messages = {offset: kept for offset, kept in held.messages.items() if offset < high}
        held.high = high

    def skip_offsets(self, kafka_partition: int, count: int) -> None:
        self.kafka_partitions[kafka_partition].high += count

    def topic_id(self) -> str:
        return self.identity

    def watermarks(self, takes: Takes = EVERYTHING.takes) -> dict[int, Watermarks]:
        return self.held(takes).whole()

    def held(self, takes: Takes = EVERYTHING.takes) -> Held:
        marks = {number: Watermarks(p.low, p.high) for number, p in self.kafka_partitions.items() if takes(number)}
        unanswered = {number: why for number, why in self.unanswered.items() if number in marks}
        return Held({number: mark for number, mark in marks.items() if number not in unanswered}, unanswered)

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        held = self.kafka_partitions[kafka_partition]
        broken = self.undeliverable.get(kafka_partition, end)
        readable = range(max(start, held.low), min(end, held.high, broken))
        offsets = [offset for offset in readable if offset in held.messages]
        for number, first in enumerate(range(0, len(offsets), batch_messages)):
            yield self._batch(held, offsets[first : first + batch_messages])
            self.after_batch(number)
        if start <= broken < min(end, held.high):
            raise Undeliverable(f"Kafka could not deliver {self.topic} partition {kafka_partition} offset {broken}")

    def _batch(self, held: FakePartition, offsets: list[int]) -> pa.RecordBatch:
        columns = [
            offsets,
            [held.received_us[offset] for offset in offsets],
            *([held.messages[offset][part] for offset in offsets] for part in (0, 1)),
            [None] * len(offsets),
        ]
        arrays = [pa.array(column, type_) for column, type_ in zip(columns, RAW_SCHEMA.types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=RAW_SCHEMA)


def hire(source: MessageSource) -> Hire:
    """Gives workers that all read from one source."""
    return lambda: nullcontext(Worker(source))


def land_all(kafka: FakeKafka, layout: Layout, window: Window = OPEN, limits: Limits = AMPLE) -> list[ChunkRecord]:
    """Land what waits into a window that is open."""
    return land(
        hire(kafka), OffsetLog(layout.offsets), layout, window, limits, window.start + timedelta(minutes=1)
    ).landed


def give_up(kafka: FakeKafka, layout: Layout, window: str, kafka_partition: int, start: int) -> None:
    """What a person does, by the sentences that are told, where Kafka deleted messages from an offset on unread."""
    log, low = OffsetLog(layout.offsets), kafka.kafka_partitions[kafka_partition].low
    while log.committed().get(kafka_partition, start) < low:
        start = log.committed().get(kafka_partition, start)
        try:
            accept_loss(kafka, log, layout, window, kafka_partition, start, low, "given up")
        except UserError as error:
            assert "the lake still has offsets" in str(error), error
            rebuild_records(log, layout, kafka_partition, start)


def messages_in_lake(layout: Layout, kafka_partition: int) -> list[tuple[int, bytes | None, bytes | None]]:
    """Offset, key and value of each message that the records name, in the order of the records."""
    found = []
    for record in OffsetLog(layout.offsets).all():
        if record.kafka_partition == kafka_partition:
            for batch in read_chunk(layout.raw_chunk(record.window, record.file), record):
                names = ("kafka_offset", "key", "value")
                found += zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    return found


def flip(path: Path, position: int = 60) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 0x10
    path.write_bytes(content)


def message(**changes: Any) -> bytes:
    """A usage message that keeps the platform's own contract, with some fields changed; `...` leaves one out."""
    fields = {
        "event_id": "e1", "event_time": "2026-11-23T14:59:00Z", "user": "mary", "client_firm": "acme",
        "user_session": "s1", "mini_app": "quotes", "action": "click", "screen": "main", "latency_ms": 12.5,
        "properties": {"ticker": "IBM"},
    }  # fmt: skip
    return json.dumps({k: v for k, v in {**fields, **changes}.items() if v is not ...}).encode()


def enriched_chunk(
    root: Path, window: str, kafka_partition: int, start: int, events: list[dict[str, Any]], fingerprint: str = "f1",
    dead_letters: int = 0, compression: str = "zstd",
) -> EnrichedChunk:  # fmt: skip
    """A chunk as enrichment leaves it, of the given events; offsets count from ``start`` where an event has none."""
    layout = Layout(root, TOPIC)
    end = start + max(1, len(events) + dead_letters)
    rows = [{**event_row(kafka_partition, start + number), **event} for number, event in enumerate(events)]
    name = chunk_name(TOPIC, kafka_partition, start)
    record = ChunkRecord(TOPIC, kafka_partition, start, end, len(rows) + dead_letters, window, name, "00000000")
    letter = {"topic": TOPIC, "kafka_partition": kafka_partition, "reason": "not_json", "detail": "broken"}
    letters = [{**letter, "kafka_offset": start + len(rows) + number} for number in range(dead_letters)]
    tables = (pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), pa.Table.from_pylist(letters, schema=DEAD_LETTER_SCHEMA))
    return write_enriched(layout, record, fingerprint, *tables, compression)


def event_row(kafka_partition: int, kafka_offset: int) -> dict[str, Any]:
    """A usage event at a position, of one user on one trading day."""
    return {
        "event_id": f"{kafka_partition}-{kafka_offset}", "event_time_us": 1_795_446_000_000_000 + kafka_offset,
        "trading_day": datetime(2026, 11, 23).date(), "phase": "midday", "user_id": "0" * 32, "client_firm": "acme",
        "mini_app": "quotes", "topic": TOPIC, "kafka_partition": kafka_partition, "kafka_offset": kafka_offset,
    }  # fmt: skip


def unfinished_windows(log: OffsetLog, topic: str, warehouse: Warehouse) -> list[str]:
    """The windows with chunks that are not loaded, newest first."""
    return sorted({chunk.window for chunk in unfinished_chunks(log, topic, warehouse)}, reverse=True)
