"""Reads offset ranges through confluent-kafka's own consumer: a Python object for each message.

`draining.DrainReader` does the same without these, where it was compiled; benchmarks/ingestion.py measures both.
"""

import time
from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow as pa
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, TopicPartition

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.ingestion.connection import Heard

POLL_MESSAGES = 1_000
FIRST_POLL_MESSAGES = 8
POLL_TIMEOUT_S = 0.1  # a poll waits that long to be full, so the end of a range costs as much
BATCH_BYTES = 32 * 2**20  # a batch is cut early when its messages are large


class RangeReader(Protocol):
    """Gives the messages of a range of one topic's offsets."""

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        """The messages at offsets ``[start, end)``, in order, in batches of `RAW_SCHEMA`.

        Offsets without a message (compacted, aborted, transaction markers) are passed over. What Kafka cannot deliver,
        or its silence, is a `UserError`.
        """
        ...

    def close(self) -> None: ...


class Silence:
    """Ends a read when Kafka has given no sign for too long."""

    def __init__(self, servers: str, topic: str, kafka_partition: int, patience_s: float, heard: Heard) -> None:
        self._place = (servers, topic, kafka_partition)
        self._patience_s, self._heard = patience_s, heard
        self.broken()

    def broken(self) -> None:
        """Something came."""
        self._since = time.monotonic()
        self._heard.forget()

    def refuse_if_long(self, position: int) -> None:
        """`UserError` if nothing came for too long."""
        if time.monotonic() - self._since > self._patience_s:
            servers, topic, kafka_partition = self._place
            where = f"{topic} partition {kafka_partition} from offset {position}"
            why = self._heard.refusal() or self._heard.cause
            raise UserError(f"Kafka at {servers} stopped answering while reading {where}{f': {why}' if why else ''}")


class Undeliverable(UserError):
    """Kafka answers with an error instead of a message; other Kafka partitions may be well."""


def undeliverable(servers: str, topic: str, kafka_partition: int, offset: int, why: str) -> Undeliverable:
    """What is told where Kafka answers with an error instead of a message."""
    return Undeliverable(
        f"Kafka at {servers} could not deliver {topic} partition {kafka_partition} offset {offset}: {why}"
    )


class ConsumerReader:
    """A `RangeReader` on a consumer that it does not own."""

    def __init__(self, consumer: Consumer, servers: str, topic: str, patience_s: float, heard: Heard) -> None:
        self._consumer, self._servers, self._topic, self._patience_s = consumer, servers, topic, patience_s
        self._heard = heard

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        self._consumer.assign([TopicPartition(self._topic, kafka_partition, start)])
        silence = Silence(self._servers, self._topic, kafka_partition, self._patience_s, self._heard)
        waiting: list[Message] = []
        waiting_bytes, position = 0, start
        while position < end:
            wanted = min(batch_messages - len(waiting), _fitting(len(waiting), waiting_bytes))
            for message in self._consumer.consume(wanted, timeout=POLL_TIMEOUT_S):
                silence.broken()
                position = max(position, self.next_position(message))
                if message.error() is None and message.offset() < end:
                    waiting.append(message)
                    waiting_bytes += _size(message)
            silence.refuse_if_long(position)
            if len(waiting) >= batch_messages or waiting_bytes >= BATCH_BYTES:
                yield _batch(waiting)
                waiting, waiting_bytes = [], 0
        if waiting:
            yield _batch(waiting)

    def close(self) -> None:
        """Nothing: the consumer is another's."""

    def next_position(self, message: Message) -> int:
        """The offset that follows a message, or a sign that the end was reached."""
        error = message.error()
        if error is None:
            return message.offset() + 1
        if error.code() == KafkaError._PARTITION_EOF:
            return message.offset()  # past trailing transaction markers, which no message announces
        place = (message.partition(), message.offset())
        raise undeliverable(self._servers, self._topic, *place, error.str())


def _size(message: Message) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in message.headers() or ())
    return len(message) + len(message.key() or b"") + headers


def _fitting(count: int, size: int) -> int:
    """How many more messages to ask for, by the size of those that came.

    A poll goes on while messages come: asking for a thousand large ones would take all memory.
    """
    return min(POLL_MESSAGES, (BATCH_BYTES - size) // (size // count + 1) + 1) if count else FIRST_POLL_MESSAGES


def _batch(messages: list[Message]) -> pa.RecordBatch:
    columns = [
        [message.offset() for message in messages],
        [_timestamp_us(message) for message in messages],
        [message.key() for message in messages],
        [message.value() for message in messages],
        [_headers(message) for message in messages],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, type_) for column, type_ in zip(columns, RAW_SCHEMA.types, strict=True)], schema=RAW_SCHEMA
    )


def _timestamp_us(message: Message) -> int | None:
    kind, milliseconds = message.timestamp()
    # Producers may claim any time at all; one that does not fit is as good as none.
    sane = kind != TIMESTAMP_NOT_AVAILABLE and 0 <= milliseconds < 2**50
    return milliseconds * 1_000 if sane else None


def _headers(message: Message) -> list[dict[str, Any]] | None:
    headers = message.headers()
    if headers is None:
        return None
    return [{"name": name, "value": value.encode() if isinstance(value, str) else value} for name, value in headers]
