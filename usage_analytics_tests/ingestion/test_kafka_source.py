"""Asking a cluster of which some parts are down: librdkafka's own mock cluster, which speaks Kafka's protocol."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer

from usage_analytics.errors import UserError
from usage_analytics.ingestion.draining import Address, compiled
from usage_analytics.ingestion.kafka_source import KafkaSource
from usage_analytics.ingestion.planning import Watermarks
from usage_analytics.ingestion.shares import Share

TOPIC, PARTITIONS, NOBODY = b"clicks", 4, -1
SILENT = (
    "topic 'clicks', Kafka partition {}: Kafka at {} did not tell within 1 s what it holds of it: {}; "
    "it is left alone until Kafka does"
)


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

    @contextmanager
    def source(self) -> Iterator[KafkaSource]:
        with KafkaSource({"bootstrap.servers": self.servers}, TOPIC.decode(), timeout_s=1) as source:
            yield source


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
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


def without_a_leader(cluster: MockCluster) -> None:
    cluster.set_leader(1, NOBODY)


def with_its_leader_down(cluster: MockCluster) -> None:
    cluster.set_down(2)


@pytest.mark.parametrize("fails", [without_a_leader, with_its_leader_down])
def test_one_kafka_partition_that_cannot_be_asked_hides_no_other(
    fails: Callable[[MockCluster], None], cluster: MockCluster
) -> None:
    fails(cluster)
    with cluster.source() as source:
        held = source.held()
        assert held.marks == {number: Watermarks(0, 1) for number in (0, 2, 3)}
        [(number, why)] = held.unanswered.items()
        before, _, after = SILENT.partition(": {};")
        assert number == 1 and why.startswith(before.format(1, cluster.servers)) and why.endswith(after)
        with pytest.raises(UserError, match="did not tell within 1 s"):
            source.watermarks()
        assert sorted(source.watermarks(Share(0, 2).takes)) == [0, 2]


def test_where_none_can_be_asked_that_is_an_error(cluster: MockCluster) -> None:
    with_its_leader_down(cluster)
    with cluster.source() as source, pytest.raises(UserError, match="did not answer within 1 s"):
        source.held(lambda number: number == 1)
