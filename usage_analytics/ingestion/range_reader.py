"""Reads offset ranges through confluent-kafka's own consumer: a Python object for each message.

`draining.DrainReader` does the same without these, where it was compiled; benchmarks/ingestion.py measures both.
"""

import time
from collections.abc import Iterator
from operator import methodcaller
from typing import Any, Protocol

import pyarrow as pa
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, TopicPartition

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.ingestion.connection import Heard
from usage_analytics.ingestion.planning import LeftAlone

POLL_MESSAGES = 1_000
FIRST_POLL_MESSAGES = 8
POLL_TIMEOUT_S = 0.1  # a poll waits that long to be full, so the end of a range costs as much
BATCH_BYTES = 32 * 2**20  # a batch is cut early when its messages are large
GONE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
DAMAGED = (KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION)
# Of a message with a header name that is not UTF-8, confluent-kafka gives tuples without a name, and an error that only
# a call from C notices, and only the first; a look at the name would end the process.
HEADERS = methodcaller("headers")
Headers = list[dict[str, Any]] | None


class RangeReader(Protocol):
    """Gives the messages of a range of one topic's offsets."""

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        """The messages at offsets ``[start, end)``, in order, in batches of `RAW_SCHEMA`.

        Offsets without a message (compacted, aborted, transaction markers) are passed over. What Kafka cannot deliver
        is `Undeliverable`, after all messages before it were given; its silence is a `UserError`.
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


class Undeliverable(LeftAlone):
    """Kafka answers with an error instead of a message."""


def undeliverable(
    servers: str, topic: str, kafka_partition: int, offset: int, code: int, why: str, *, wild: bool = False
) -> Undeliverable:
    """What is told where Kafka answers with an error of librdkafka's instead of a message.

    ``wild``: of an offset that was not asked for. Behind damaged messages it takes whatever it finds for the next one.
    """
    place = f"{topic} partition {kafka_partition} offset {offset}"
    return Undeliverable(f"Kafka at {servers} could not deliver {place}: {why}{_meaning(code, wild)}")


def _meaning(code: int, wild: bool) -> str:
    if code in GONE and not wild:
        return " (the topic's retention deleted it while it was being read, or its log was cut short)"
    if code in (*DAMAGED, *GONE):
        return (
            " (the messages there are damaged: let a broker lead that has them whole; where none has, delete what is up"
            " to behind them on Kafka, with kafka-delete-records, and accept the loss that is told then)"
        )
    return ""


class ConsumerReader:
    """A `RangeReader` on a consumer that it does not own."""

    def __init__(self, consumer: Consumer, servers: str, topic: str, patience_s: float, heard: Heard) -> None:
        self._consumer, self._servers, self._topic, self._patience_s = consumer, servers, topic, patience_s
        self._heard = heard

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        self._consumer.assign([TopicPartition(self._topic, kafka_partition, start)])
        silence = Silence(self._servers, self._topic, kafka_partition, self._patience_s, self._heard)
        waiting: list[tuple[Message, Headers]] = []
        waiting_bytes, position = 0, start
        while position < end:
            wanted = min(batch_messages - len(waiting), _fitting(len(waiting), waiting_bytes))
            try:
                for message in self._consumer.consume(wanted, timeout=POLL_TIMEOUT_S):
                    silence.broken()
                    if position >= end:
                        break
                    position = max(position, self.next_position(message, position, end))
                    if message.error() is None and message.offset() < end:
                        headers = _headers(message)
                        waiting.append((message, headers))
                        waiting_bytes += _size(message, headers)
            except Undeliverable:
                if waiting:
                    yield _batch(waiting)
                raise
            silence.refuse_if_long(position)
            if len(waiting) >= batch_messages or waiting_bytes >= BATCH_BYTES:
                yield _batch(waiting)
                waiting, waiting_bytes = [], 0
        if waiting:
            yield _batch(waiting)

    def close(self) -> None:
        """Nothing: the consumer is another's."""

    def next_position(self, message: Message, position: int, end: int) -> int:
        """The offset that follows a message, or a sign that the end was reached; the read stands at a position."""
        error = message.error()
        if error is None:
            return message.offset() + 1
        if error.code() == KafkaError._PARTITION_EOF:
            return message.offset()  # past trailing transaction markers, which no message announces
        place, wild = (message.partition(), position), message.offset() >= end
        raise undeliverable(self._servers, self._topic, *place, error.code(), error.str(), wild=wild)


def _size(message: Message, headers: Headers) -> int:
    of_headers = sum(len(header["name"] or "") + len(header["value"] or b"") for header in headers or ())
    return len(message) + len(message.key() or b"") + of_headers


def _fitting(count: int, size: int) -> int:
    """How many more messages to ask for, by the size of those that came.

    A poll goes on while messages come: asking for a thousand large ones would take all memory.
    """
    return min(POLL_MESSAGES, (BATCH_BYTES - size) // (size // count + 1) + 1) if count else FIRST_POLL_MESSAGES


def _batch(messages: list[tuple[Message, Headers]]) -> pa.RecordBatch:
    columns = [
        [message.offset() for message, _ in messages],
        [_timestamp_us(message) for message, _ in messages],
        [message.key() for message, _ in messages],
        [message.value() for message, _ in messages],
        [headers for _, headers in messages],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, type_) for column, type_ in zip(columns, RAW_SCHEMA.types, strict=True)], schema=RAW_SCHEMA
    )


def _timestamp_us(message: Message) -> int | None:
    kind, milliseconds = message.timestamp()
    # Producers may claim any time at all; one that does not fit is as good as none.
    sane = kind != TIMESTAMP_NOT_AVAILABLE and 0 <= milliseconds < 2**50
    return milliseconds * 1_000 if sane else None


def _headers(message: Message) -> Headers:
    try:
        headers, readable = HEADERS(message), True
    except SystemError:
        headers, readable = HEADERS(message), False
    if headers is None:
        return None
    # By number, not unpacked: a tuple may have no name.
    return [{"name": header[0] if readable else None, "value": _bytes(header[1])} for header in headers]


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
