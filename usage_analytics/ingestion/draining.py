"""Reads offset ranges into columns without a Python object for each message, by a small piece in C (drain.c).

It speaks to the very librdkafka that confluent-kafka brings, through its public C interface. Where the piece was not
compiled (no C compiler at installation), or that library is not found, `range_reader.ConsumerReader` reads the same
messages more slowly. benchmarks/ingestion.py measures both.
"""

import ctypes
import logging
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import confluent_kafka
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.ingestion.range_reader import BATCH_BYTES, POLL_TIMEOUT_S, Silence, undeliverable

CONSUMER = 1  # RD_KAFKA_CONSUMER
ERROR_TEXT_BYTES = 512
HEADER_TYPE = RAW_SCHEMA.field("headers").type.value_type
LATEST_MS = 2**50  # producers may claim any time at all; one that does not fit is as good as none
LOGGER = logging.getLogger(__name__)
Address = ctypes.c_void_p
# What drain.c calls, in the order of its `kafka`.
FUNCTIONS = ("consume_batch_queue", "message_destroy", "message_timestamp", "message_headers", "header_get_all")


class _Kafka(ctypes.Structure):
    _fields_ = [(name, Address) for name in FUNCTIONS]


class _Texts(ctypes.Structure):
    _fields_ = [
        ("bytes", Address), ("used", ctypes.c_int64), ("room", ctypes.c_int64), ("ends", Address), ("there", Address),
    ]  # fmt: skip


class _Columns(ctypes.Structure):
    _fields_ = [
        ("offsets", Address), ("timestamps_ms", Address), ("keys", _Texts), ("values", _Texts), ("headers", _Texts),
        ("owner", Address), ("rows", ctypes.c_int64), ("header_rows", ctypes.c_int64), ("room", ctypes.c_int64),
        ("header_room", ctypes.c_int64), ("position", ctypes.c_int64), ("error_offset", ctypes.c_int64),
        ("error", ctypes.c_int32), ("heard", ctypes.c_int32),
    ]  # fmt: skip


class DrainReader:
    """A `RangeReader` with a client of its own."""

    def __init__(
        self, libraries: tuple[ctypes.CDLL, ctypes.CDLL], client: dict[str, Any], topic: str, patience_s: float
    ) -> None:
        self._rdkafka, self._drain = libraries
        self._servers, self._topic, self._patience_s = client["bootstrap.servers"], topic, patience_s
        functions = (getattr(self._rdkafka, f"rd_kafka_{name}") for name in FUNCTIONS)
        self._kafka = _Kafka(*(ctypes.cast(function, Address).value for function in functions))
        text = ctypes.create_string_buffer(ERROR_TEXT_BYTES)
        configuration = self._configuration(client, text)
        self._client = self._rdkafka.rd_kafka_new(CONSUMER, configuration, text, ERROR_TEXT_BYTES)
        if not self._client:
            self._rdkafka.rd_kafka_conf_destroy(configuration)
            raise UserError(f"Kafka settings are not usable: {text.value.decode(errors='replace')}")
        self._handle = self._rdkafka.rd_kafka_topic_new(self._client, topic.encode(), None)

    def close(self) -> None:
        """Let go of the client."""
        if self._client:
            self._rdkafka.rd_kafka_topic_destroy(self._handle)
            self._rdkafka.rd_kafka_destroy(self._client)
            self._client = None

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        queue = self._rdkafka.rd_kafka_queue_new(self._client)
        if self._rdkafka.rd_kafka_consume_start_queue(self._handle, kafka_partition, start, queue) != 0:
            why = self._reason(self._rdkafka.rd_kafka_last_error())
            self._rdkafka.rd_kafka_queue_destroy(queue)
            raise undeliverable(self._servers, self._topic, kafka_partition, start, why)
        columns = self._drain.drain_new(batch_messages)
        if not columns:
            raise MemoryError("no memory for a batch of messages")
        try:
            columns.contents.position = start
            yield from self._batches(queue, columns, kafka_partition, end, batch_messages)
        finally:
            self._drain.drain_free(columns)
            self._rdkafka.rd_kafka_consume_stop(self._handle, kafka_partition)
            self._rdkafka.rd_kafka_queue_destroy(queue)

    def _batches(
        self, queue: int, columns: Any, kafka_partition: int, end: int, batch_messages: int
    ) -> Iterator[pa.RecordBatch]:
        silence = Silence(self._servers, self._topic, kafka_partition, self._patience_s)
        found, timeout_ms = columns.contents, int(POLL_TIMEOUT_S * 1_000)
        while found.position < end:
            if self._drain.drain(ctypes.byref(self._kafka), queue, end, BATCH_BYTES, timeout_ms, columns):
                raise MemoryError("no memory for a batch of messages")
            if found.error:
                place = (kafka_partition, found.error_offset)
                raise undeliverable(self._servers, self._topic, *place, self._reason(found.error))
            if found.heard:
                silence.broken()
            silence.refuse_if_long(found.position)
            if found.rows >= batch_messages or found.values.used >= BATCH_BYTES:
                yield _batch(found)
                self._drain.drain_empty(columns)
        if found.rows:
            yield _batch(found)

    def _configuration(self, client: dict[str, Any], text: Any) -> int:
        configuration: int = self._rdkafka.rd_kafka_conf_new()
        self._rdkafka.rd_kafka_conf_set_log_cb(configuration, None)  # it would write to the terminal
        for name, value in client.items():
            plain = str(value).lower() if isinstance(value, bool) else str(value)
            if self._rdkafka.rd_kafka_conf_set(configuration, name.encode(), plain.encode(), text, ERROR_TEXT_BYTES):
                raise UserError(f"Kafka settings are not usable: {text.value.decode(errors='replace')}")
        return configuration

    def _reason(self, code: int) -> str:
        return str(self._rdkafka.rd_kafka_err2str(code).decode())


@lru_cache(maxsize=1)
def compiled() -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    """librdkafka and the piece in C; None where either is missing."""
    folder = Path(__file__).parent
    pieces = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_drain{suffix}").exists()]
    brought = list(Path(confluent_kafka.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka*.so*"))
    if not pieces or len(brought) != 1:
        LOGGER.info("draining was not compiled, or librdkafka not found; messages are read one by one, which is slower")
        return None
    rdkafka, drain = ctypes.CDLL(str(brought[0])), ctypes.CDLL(str(pieces[0]))
    code, length, number, text = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64, ctypes.c_char_p
    for name, result, arguments in (
        ("conf_new", Address, []), ("conf_destroy", None, [Address]), ("conf_set_log_cb", None, [Address, Address]),
        ("conf_set", code, [Address, text, text, text, length]), ("new", Address, [code, Address, text, length]),
        ("topic_new", Address, [Address, text, Address]), ("topic_destroy", None, [Address]),
        ("destroy", None, [Address]), ("queue_new", Address, [Address]), ("queue_destroy", None, [Address]),
        ("consume_start_queue", code, [Address, ctypes.c_int32, number, Address]),
        ("consume_stop", code, [Address, ctypes.c_int32]), ("last_error", code, []), ("err2str", text, [code]),
    ):  # fmt: skip
        function = getattr(rdkafka, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    columns = ctypes.POINTER(_Columns)
    drain.drain_new.restype, drain.drain_new.argtypes = columns, [number]
    drain.drain.restype, drain.drain.argtypes = code, [Address, Address, number, number, code, columns]
    for function in (drain.drain_free, drain.drain_empty):
        function.restype, function.argtypes = None, [columns]
    return rdkafka, drain


def _batch(found: _Columns) -> pa.RecordBatch:
    rows = found.rows
    timestamps = _copied(found.timestamps_ms, np.int64, rows)
    sane = (timestamps >= 0) & (timestamps < LATEST_MS)
    columns = [
        pa.array(_copied(found.offsets, np.int64, rows)),
        pa.array(np.where(sane, timestamps, 0) * 1_000, mask=None if sane.all() else ~sane),
        _texts(found.keys, rows),
        _texts(found.values, rows),
        _headers(found) if found.header_rows else pa.nulls(rows, RAW_SCHEMA.field("headers").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=RAW_SCHEMA)


def _texts(column: _Texts, rows: int) -> pa.Array:
    ends = pa.py_buffer(_copied(column.ends, np.int32, rows + 1))
    content = pa.py_buffer(_copied(column.bytes, np.uint8, column.used))
    there = _copied(column.there, np.uint8, rows).astype(bool)
    valid = None if there.all() else pa.array(there).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), rows, [valid, ends, content])


def _headers(found: _Columns) -> pa.Array:
    parts = _texts(found.headers, found.header_rows)
    names = parts.take(pa.array(np.arange(0, found.header_rows, 2))).cast(pa.string())
    values = parts.take(pa.array(np.arange(1, found.header_rows, 2)))
    owners = _copied(found.owner, np.int32, found.header_rows)[::2]
    counts = np.bincount(owners, minlength=found.rows)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    headers = pa.StructArray.from_arrays([names, values], fields=list(HEADER_TYPE))
    lists = pa.ListArray.from_arrays(pa.array(ends), headers, mask=pa.array(counts == 0))
    return lists.cast(RAW_SCHEMA.field("headers").type)


def _copied(address: int | None, kind: Any, count: int) -> npt.NDArray[Any]:
    if not address or not count:
        return np.empty(0, kind)
    size = np.dtype(kind).itemsize * count
    return np.frombuffer(ctypes.string_at(address, size), kind)
