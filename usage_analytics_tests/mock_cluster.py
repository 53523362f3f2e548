"""librdkafka's own mock cluster, which speaks Kafka's protocol: parts of it go down, it hands out what it is given."""

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer

from usage_analytics.ingestion.draining import Address, compiled
from usage_analytics.ingestion.kafka_source import KafkaSource

TOPIC, PARTITIONS, NOBODY = b"clicks", 4, -1
PRODUCE, VERSION = 0, 3
CASTAGNOLI = 0x82F63B78
Header = tuple[bytes, bytes | None]


class MockCluster:
    """Three brokers; Kafka partition 1 is led by the second, the others by the first. Each holds a message."""

    def __init__(self, rdkafka: Any, address: int) -> None:
        self._rdkafka, self._address = rdkafka, Address(address)
        rdkafka.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        self.servers = rdkafka.rd_kafka_mock_cluster_bootstraps(self._address).decode()
        assert rdkafka.rd_kafka_mock_topic_create(self._address, TOPIC, PARTITIONS, 3) == 0
        for kafka_partition in range(PARTITIONS):
            self.set_leader(kafka_partition, 2 if kafka_partition == 1 else 1)
        producer = Producer({"bootstrap.servers": self.servers})
        for kafka_partition in range(PARTITIONS):
            producer.produce(TOPIC.decode(), b"{}", partition=kafka_partition)
        assert producer.flush(10) == 0

    def set_leader(self, kafka_partition: int, broker: int) -> None:
        assert self._rdkafka.rd_kafka_mock_partition_set_leader(self._address, TOPIC, kafka_partition, broker) == 0

    def set_down(self, broker: int) -> None:
        assert self._rdkafka.rd_kafka_mock_broker_set_down(self._address, broker) == 0

    def append(self, batch: bytes) -> None:
        """Send a batch of Kafka partition 0 as it is: no client would send a broken one."""
        client_id, transactional_id, acks, timeout_ms = b"tests", -1, 1, 5_000
        head = struct.pack(">hhih", PRODUCE, VERSION, 1, len(client_id)) + client_id
        body = struct.pack(">hhiih", transactional_id, acks, timeout_ms, 1, len(TOPIC)) + TOPIC
        request = head + body + struct.pack(">iii", 1, 0, len(batch)) + batch
        host, port = self.servers.split(",")[0].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5) as broker:
            broker.sendall(struct.pack(">i", len(request)) + request)
            assert len(broker.recv(1_000)) > 8

    @contextmanager
    def source(self, **client: Any) -> Iterator[KafkaSource]:
        with KafkaSource({"bootstrap.servers": self.servers, **client}, TOPIC.decode(), timeout_s=1) as source:
            yield source


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    """One of three brokers, while it is needed."""
    libraries = compiled()
    if libraries is None:
        pytest.skip("confluent-kafka brings no librdkafka that can be opened")
    rdkafka, text = libraries[0], ctypes.create_string_buffer(512)
    client = rdkafka.rd_kafka_new(0, rdkafka.rd_kafka_conf_new(), text, len(text))
    rdkafka.rd_kafka_mock_cluster_new.restype = Address
    mock = rdkafka.rd_kafka_mock_cluster_new(Address(client), 3)
    try:
        yield MockCluster(rdkafka, mock)
    finally:
        rdkafka.rd_kafka_mock_cluster_destroy(Address(mock))
        rdkafka.rd_kafka_destroy(client)


def batch_of(*values: bytes, headers: tuple[Header, ...] = (), damaged: bool = False) -> bytes:
    """A batch of messages as Kafka keeps it, whose checksum may be wrong."""
    records = b"".join(_record(number, value, headers) for number, value in enumerate(values))
    last = len(values) - 1
    hashed = struct.pack(">hiqqqhii", 0, last, 1_000, 1_000, -1, -1, -1, len(values)) + records
    checksum = crc32c(hashed) ^ damaged
    return struct.pack(">qiibI", 0, 9 + len(hashed), 0, 2, checksum) + hashed


def _record(number: int, value: bytes, headers: tuple[Header, ...]) -> bytes:
    kept = b"".join(_sized(name) + _sized(content) for name, content in headers)
    record = b"\0" + _varint(0) + _varint(number) + _sized(None) + _sized(value) + _varint(len(headers)) + kept
    return _varint(len(record)) + record


def _sized(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _varint(number: int) -> bytes:
    zigzag, found = (number << 1) ^ (number >> 63), bytearray()
    while zigzag > 0x7F:
        found.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*found, zigzag])


def crc32c(content: bytes) -> int:
    """Castagnoli's CRC-32, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
