"""Reads offset ranges into columns without a Python object for each message, by a small piece in C (drain.c).

It speaks to the very librdkafka that confluent-kafka brings, through its public C interface. Where the piece was not
compiled (no C compiler at installation), or that library is not found, `range_reader.ConsumerReader` reads the same
messages more slowly. benchmarks/ingestion.py measures both, as `consume` and `consume_in_python`.
"""

import ctypes
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import confluent_kafka
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.ingestion.connection import Heard
from usage_analytics.ingestion.range_reader import BATCH_BYTES, POLL_TIMEOUT_S, Silence, undeliverable
from usage_analytics.native import compiled_piece, loaded

CONSUMER = 1  # RD_KAFKA_CONSUMER
ERROR_TEXT_BYTES = 512
NO_MEMORY = "no memory for a batch of messages"
HEADER_TYPE = RAW_SCHEMA.field("headers").type.value_type
LATEST_MS = 2**50  # producers may claim any time at all; one that does not fit is as good as none
ONE_BY_ONE = "messages are read one by one"
Address = ctypes.c_void_p
ErrorCallback = ctypes.CFUNCTYPE(None, Address, ctypes.c_int, ctypes.c_char_p, Address)
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

    @property
    def used(self) -> int:
        """Bytes of messages, with their keys and headers."""
        return int(self.keys.used + self.values.used + self.headers.used)


class DrainReader:
    """A `RangeReader` with a client of its own."""

    def __init__(
        self, libraries: tuple[ctypes.CDLL, ctypes.CDLL], client: dict[str, Any], topic: str, patience_s: float
    ) -> None:
        self._rdkafka, self._drain = libraries
        self._servers, self._topic, self._patience_s = client["bootstrap.servers"], topic, patience_s
        functions = (getattr(self._rdkafka, f"rd_kafka_{name}") for name in FUNCTIONS)
        self._kafka = _Kafka(*(ctypes.cast(function, Address).value for function in functions))
        self._heard = Heard(client)
        self._note = ErrorCallback(self._noted)  # kept: librdkafka calls it as long as the client lives
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
            code = self._rdkafka.rd_kafka_last_error()
            self._rdkafka.rd_kafka_queue_destroy(queue)
            raise undeliverable(self._servers, self._topic, kafka_partition, start, code, self._reason(code))
        try:
            yield from self._batches(queue, kafka_partition, start, end, batch_messages)
        finally:
            self._rdkafka.rd_kafka_consume_stop(self._handle, kafka_partition)
            self._rdkafka.rd_kafka_queue_destroy(queue)

    def _batches(
        self, queue: int, kafka_partition: int, start: int, end: int, batch_messages: int
    ) -> Iterator[pa.RecordBatch]:
        silence = Silence(self._servers, self._topic, kafka_partition, self._patience_s, self._heard)
        timeout_ms = int(POLL_TIMEOUT_S * 1_000)
        memory = _Memory(self._drain, batch_messages, start)
        found = memory.columns.contents
        while found.position < end:
            if self._drain.drain(ctypes.byref(self._kafka), queue, end, BATCH_BYTES, timeout_ms, memory.columns):
                raise MemoryError(NO_MEMORY)
            if found.error:
                if found.rows:
                    yield _batch(found, memory)
                place, code = (kafka_partition, found.position), found.error
                wild = found.error_offset >= end
                raise undeliverable(self._servers, self._topic, *place, code, self._reason(code), wild=wild)
            if found.heard:
                silence.broken()
            else:
                self._rdkafka.rd_kafka_poll(self._client, 0)  # only then does it tell what it has heard
            silence.refuse_if_long(found.position)
            if found.rows >= batch_messages or found.used >= BATCH_BYTES:
                yield _batch(found, memory)
                memory = _Memory(self._drain, batch_messages, found.position)
                found = memory.columns.contents
        if found.rows:
            yield _batch(found, memory)

    def _configuration(self, client: dict[str, Any], text: Any) -> int:
        configuration: int = self._rdkafka.rd_kafka_conf_new()
        self._rdkafka.rd_kafka_conf_set_log_cb(configuration, None)  # it would write to the terminal
        self._rdkafka.rd_kafka_conf_set_error_cb(configuration, self._note)
        for name, value in client.items():
            plain = str(value).lower() if isinstance(value, bool) else str(value)
            if self._rdkafka.rd_kafka_conf_set(configuration, name.encode(), plain.encode(), text, ERROR_TEXT_BYTES):
                self._rdkafka.rd_kafka_conf_destroy(configuration)
                raise UserError(f"Kafka settings are not usable: {text.value.decode(errors='replace')}")
        return configuration

    def _noted(self, client: int, code: int, text: bytes, opaque: int) -> None:
        self._heard.note(code, text.decode(errors="replace"))

    def _reason(self, code: int) -> str:
        return str(self._rdkafka.rd_kafka_err2str(code).decode())


@lru_cache(maxsize=1)
def compiled() -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    """librdkafka and the piece in C; None where either is missing."""
    drain = compiled_piece(Path(__file__).parent, "drain", ONE_BY_ONE)
    brought = list(Path(confluent_kafka.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka*.so*"))
    rdkafka = loaded(brought[0], ONE_BY_ONE) if len(brought) == 1 else None
    if drain is None or rdkafka is None:
        return None
    code, length, number, text = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64, ctypes.c_char_p
    for name, result, arguments in (
        ("conf_new", Address, []), ("conf_destroy", None, [Address]), ("conf_set_log_cb", None, [Address, Address]),
        ("conf_set_error_cb", None, [Address, ErrorCallback]), ("poll", code, [Address, code]),
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
    drain.drain_free.restype, drain.drain_free.argtypes = None, [columns]
    return rdkafka, drain


class _Memory:
    """The columns of one batch; they are let go of with the last array that stands on them."""

    def __init__(self, drain: ctypes.CDLL, rows: int, position: int) -> None:
        self._free, self.columns = drain.drain_free, drain.drain_new(rows)
        if not self.columns:
            raise MemoryError(NO_MEMORY)
        self.columns.contents.position = position

    def __del__(self) -> None:
        if self.columns:
            self._free(self.columns)

    def buffer(self, address: int | None, kind: Any, count: int) -> pa.Buffer:
        size = np.dtype(kind).itemsize * count
        return pa.foreign_buffer(address, size, self) if address and size else pa.py_buffer(b"")

    def array(self, address: int | None, kind: Any, count: int) -> npt.NDArray[Any]:
        return np.frombuffer(self.buffer(address, kind, count), kind)


def _batch(found: _Columns, memory: _Memory) -> pa.RecordBatch:
    rows = found.rows
    timestamps = memory.array(found.timestamps_ms, np.int64, rows)
    sane = (timestamps >= 0) & (timestamps < LATEST_MS)
    columns = [
        pa.Array.from_buffers(pa.int64(), rows, [None, memory.buffer(found.offsets, np.int64, rows)]),
        pa.array(np.where(sane, timestamps, 0) * 1_000, mask=None if sane.all() else ~sane),
        _texts(found.keys, rows, memory),
        _texts(found.values, rows, memory),
        _headers(found, memory) if found.header_rows else pa.nulls(rows, RAW_SCHEMA.field("headers").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=RAW_SCHEMA)


def _texts(column: _Texts, rows: int, memory: _Memory) -> pa.Array:
    ends = memory.buffer(column.ends, np.int32, rows + 1)
    content = memory.buffer(column.bytes, np.uint8, column.used)
    there = memory.array(column.there, np.uint8, rows).astype(bool)
    valid = None if there.all() else pa.array(there).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), rows, [valid, ends, content])


def _headers(found: _Columns, memory: _Memory) -> pa.Array:
    parts = _texts(found.headers, found.header_rows, memory)
    names = _as_text(parts.take(pa.array(np.arange(0, found.header_rows, 2))))
    values = parts.take(pa.array(np.arange(1, found.header_rows, 2)))
    owners = memory.array(found.owner, np.int32, found.header_rows)[::2]
    counts = np.bincount(owners, minlength=found.rows)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    headers = pa.StructArray.from_arrays([names, values], fields=list(HEADER_TYPE))
    lists = pa.ListArray.from_arrays(pa.array(ends), headers, mask=pa.array(counts == 0))
    return lists.cast(RAW_SCHEMA.field("headers").type)


def _as_text(names: pa.Array) -> pa.Array:
    try:
        return names.cast(pa.string())
    except pa.ArrowInvalid:  # Kafka itself takes any bytes: those that are no text are written as \xe9
        return pa.array([name.decode(errors="backslashreplace") for name in names.to_pylist()], pa.string())
