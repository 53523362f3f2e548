"""Both ways of reading a range give the same rows, from both brokers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from usage_analytics.errors import UserError
from usage_analytics.ingestion import draining, kafka_source
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.ingestion.draining import DrainReader
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.kafka_source import KafkaSource
from usage_analytics.ingestion.range_reader import ConsumerReader
from usage_analytics.ingestion.topics import create_topic

MEGABYTE = 2**20
LARGE = {"message.max.bytes": 8 * MEGABYTE, "linger.ms": 5}
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
Rows = list[dict[str, Any]]


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.apache_kafka)])
def servers(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "apache":
        yield request.getfixturevalue("apache").bootstrap_servers
    else:
        with EmbeddedBroker.start() as broker:
            yield broker.bootstrap_servers


@pytest.fixture(params=["drained", "one by one"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    if request.param == "one by one":
        monkeypatch.setattr(kafka_source, "compiled", lambda: None)
        return ConsumerReader
    if draining.compiled() is None:
        pytest.skip("draining was not compiled: no C compiler was there at installation")
    return DrainReader


def topic_of_large_messages(servers: str) -> str:
    topic = f"read-{uuid.uuid4().hex[:8]}"
    settings = {"max.message.bytes": str(8 * MEGABYTE)}
    admin = AdminClient({"bootstrap.servers": servers})  # kept until it is done
    admin.create_topics([NewTopic(topic, 1, -1, config=settings)])[topic].result(30)
    return topic


def topic_on(servers: str, partitions: int = 1) -> str:
    """A topic that keeps messages however old they claim to be."""
    topic = f"read-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, partitions, -1, config={"retention.ms": "-1"})])[topic].result(30)
    create_topic({"bootstrap.servers": servers}, topic, partitions)  # waits until it has its leaders
    return topic


def source_of(servers: str, topic: str, kind: type, timeout_s: float = 10) -> KafkaSource:
    source = KafkaSource({"bootstrap.servers": servers}, topic, timeout_s)
    assert isinstance(source._reader, kind)
    return source


def produce(servers: str, topic: str, messages: Rows, codec: str = "none") -> None:
    producer = Producer({"bootstrap.servers": servers, "compression.type": codec, **LARGE})
    for message in messages:
        producer.produce(topic, **message)
    assert producer.flush(30) == 0


def rows(batches: Iterator[pa.RecordBatch]) -> Rows:
    found: Rows = []
    for batch in batches:
        assert batch.schema == RAW_SCHEMA
        assert batch.num_rows
        batch.validate(full=True)
        found += batch.to_pylist()
    return found


def test_keys_values_headers_and_timestamps_are_as_they_were_sent(servers: str, by: type) -> None:
    topic = topic_on(servers)
    sent: Rows = [
        {"value": b"plain", "key": b"k", "timestamp": 1_700_000_000_123},
        {"value": None, "key": b"a tombstone", "timestamp": 1_700_000_000_124},
        {"value": b"", "key": None, "timestamp": 1_700_000_000_125},
        {"value": b"\x00\xff", "key": b"", "timestamp": 1},
        {"value": b"h", "key": None, "timestamp": 2, "headers": [("one", b"1"), ("two", None), ("one", b"")]},
        {"value": b"i", "key": None, "timestamp": 3},
        {"value": b"j", "key": None, "timestamp": 4, "headers": [("trace", "é".encode() * 300)]},
    ]
    produce(servers, topic, sent)
    with source_of(servers, topic, by) as source:
        found = rows(source.read(0, 0, len(sent), 3))
    headers = [[{"name": n, "value": v} for n, v in m["headers"]] if "headers" in m else None for m in sent]
    assert found == [
        {
            "kafka_offset": offset, "kafka_timestamp_us": message["timestamp"] * 1_000, "key": message["key"],
            "value": message["value"], "headers": kept,
        }
        for offset, (message, kept) in enumerate(zip(sent, headers, strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize(("start", "end"), [(0, 5_000), (0, 1), (4_999, 5_000), (1_234, 3_210), (700, 700)])
def test_a_range_is_given_whole_and_nothing_beyond(servers: str, by: type, start: int, end: int) -> None:
    topic = topic_on(servers, partitions=2)
    produce(servers, topic, [{"value": str(n).encode(), "partition": n % 2} for n in range(10_000)])
    with source_of(servers, topic, by) as source:
        for kafka_partition in (1, 0, 1):  # and again: a read leaves nothing behind
            found = rows(source.read(kafka_partition, start, end, 999))
            assert [row["kafka_offset"] for row in found] == list(range(start, end))
            assert [row["value"] for row in found] == [str(2 * n + kafka_partition).encode() for n in range(start, end)]


def test_a_read_that_is_given_up_does_not_disturb_the_next(servers: str, by: type) -> None:
    topic = topic_on(servers)
    produce(servers, topic, [{"value": str(n).encode()} for n in range(5_000)])
    with source_of(servers, topic, by) as source:
        for _ in range(3):
            batches = source.read(0, 0, 5_000, 100)
            assert next(batches).num_rows == 100
            batches.close()  # type: ignore[attr-defined]
        assert [row["kafka_offset"] for row in rows(source.read(0, 2_000, 2_500, 100))] == list(range(2_000, 2_500))


@pytest.mark.parametrize(
    "large",
    [
        lambda n: {"value": bytes([n]) * 5 * MEGABYTE},
        lambda n: {"value": b"", "key": bytes([n]) * 5 * MEGABYTE},
        lambda n: {"value": b"", "headers": [("large", bytes([n]) * 5 * MEGABYTE)]},
    ],
    ids=["values", "keys", "headers"],
)
def test_batches_of_large_messages_are_cut_early(by: type, large: Callable[[int], dict[str, Any]]) -> None:
    with EmbeddedBroker.start() as broker:
        topic = topic_on(broker.bootstrap_servers)
        messages = [large(n) for n in range(20)]
        produce(broker.bootstrap_servers, topic, messages)
        with source_of(broker.bootstrap_servers, topic, by) as source:
            batches = list(source.read(0, 0, 20, 1_000))
    found = [row for batch in batches for row in batch.to_pylist()]
    assert [row["value"] for row in found] == [message["value"] for message in messages]
    assert [row["key"] for row in found] == [message.get("key") for message in messages]
    assert sum(len(header["value"]) for row in found for header in row["headers"] or ()) in (0, 100 * MEGABYTE)
    assert max(batch.nbytes for batch in batches) < 80 * MEGABYTE


def test_every_compression_is_read(servers: str, by: type) -> None:
    topic = topic_on(servers)
    sent = [f"{codec} {n} {'x' * 200}".encode() for codec in CODECS for n in range(100)]
    for number, codec in enumerate(CODECS):
        produce(servers, topic, [{"value": value} for value in sent[100 * number :][:100]], codec)
    with source_of(servers, topic, by) as source:
        assert [row["value"] for row in rows(source.read(0, 0, len(sent), 99))] == sent


def test_compressed_messages_of_some_megabytes_are_read(servers: str, by: type) -> None:
    topic = topic_of_large_messages(servers)
    sent = [os.urandom(2 * MEGABYTE) + b"x" * n * MEGABYTE for n in (0, 3, 1)]
    produce(servers, topic, [{"value": value} for value in sent], "zstd")
    with source_of(servers, topic, by) as source:
        assert [row["value"] for row in rows(source.read(0, 0, len(sent), 1_000))] == sent


def test_an_offset_that_kafka_does_not_hold_is_named(by: type, apache: Any) -> None:
    topic = topic_on(apache.bootstrap_servers)
    produce(apache.bootstrap_servers, topic, [{"value": b"m"}])
    with (
        source_of(apache.bootstrap_servers, topic, by) as source,
        pytest.raises(UserError, match=f"could not deliver {topic} partition 0 offset 7.*"),
    ):
        rows(source.read(0, 7, 9, 10))


def test_a_broker_that_falls_silent_is_named(by: type) -> None:
    with EmbeddedBroker.start() as broker:
        topic = topic_on(broker.bootstrap_servers)
        produce(broker.bootstrap_servers, topic, [{"value": b"m"}])
        with source_of(broker.bootstrap_servers, topic, by, timeout_s=0.5) as source:
            assert len(rows(source.read(0, 0, 1, 10))) == 1
            broker.stop()
            with pytest.raises(UserError, match=f"stopped answering while reading {topic} partition 0 from offset 0"):
                rows(source.read(0, 0, 1, 10))


def test_a_setting_that_librdkafka_does_not_know_is_named(by: type) -> None:
    with pytest.raises(UserError, match="Kafka settings are not usable"):
        KafkaSource({"bootstrap.servers": "127.0.0.1:1", "security.protocol": "magic"}, "t", 1)
