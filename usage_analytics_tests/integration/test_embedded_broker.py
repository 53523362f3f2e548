"""Both brokers: what goes in comes out, and what they do when stopped, killed or unable to start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.broker_process import cluster_id_at, free_port
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.kafka_source import MOVING, KafkaSource, NoTopic, Watermarks
from usage_analytics.ingestion.topics import create_topic
from usage_analytics.settings import load_settings
from usage_analytics_tests.integration import apache_kafka
from usage_analytics_tests.integration.apache_kafka import ApacheKafka
from usage_analytics_tests.integration.platform_under_test import clean_environment, consume_all

TOPIC, PARTITIONS, COUNT = "usage_messages", 2, 1_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker.start(tmp_path / "broker") as started:
        yield started


def produce(bootstrap_servers: str, count: int = COUNT) -> None:
    create_topic({"bootstrap.servers": bootstrap_servers}, TOPIC, PARTITIONS)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "compression.type": "lz4", "linger.ms": 20})
    for number in range(count):
        producer.produce(TOPIC, f"message {number}".encode(), partition=number % PARTITIONS)
    assert producer.flush(30) == 0


def marks_of(consumer: Consumer, partition: int) -> tuple[int, int]:
    """The ends of a Kafka partition, once it has a leader again."""
    until = time.monotonic() + 60
    while True:
        try:
            return consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=10)
        except KafkaException as error:
            if error.args[0].code() not in MOVING or time.monotonic() > until:
                raise
            time.sleep(0.2)


def watermarks(bootstrap_servers: str) -> list[tuple[int, int]]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "test"})
    found = [marks_of(consumer, partition) for partition in range(PARTITIONS)]
    consumer.close()
    return [(int(low), int(high)) for low, high in found]


def assert_holds(bootstrap_servers: str, count: int = COUNT) -> None:
    values, ends = consume_all(bootstrap_servers, TOPIC, PARTITIONS)
    assert sorted(values) == sorted(f"message {number}".encode() for number in range(count))
    assert ends == [count // PARTITIONS] * PARTITIONS


def test_gives_back_what_was_produced(broker: EmbeddedBroker) -> None:
    produce(broker.bootstrap_servers)
    assert_holds(broker.bootstrap_servers)


def test_queried_high_watermark_is_too_low_and_fetched_one_right(broker: EmbeddedBroker) -> None:
    # A reader that trusted the queried one would leave the end of the last batch behind. If a later Tansu
    # fails this test, the warning in the module's docstring can go.
    produce(broker.bootstrap_servers)
    end = COUNT // PARTITIONS
    assert all(low == 0 and 0 < high < end for low, high in watermarks(broker.bootstrap_servers))
    assert consume_all(broker.bootstrap_servers, TOPIC, PARTITIONS)[1] == [end] * PARTITIONS


def test_the_source_sees_its_last_messages_when_it_is_named_as_a_cluster_is(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_environment(monkeypatch, tmp_path / "home", TOPIC=TOPIC)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    produce(broker.bootstrap_servers)
    with parts.kafka_source(load_settings()) as source:
        assert source.watermarks() == {number: Watermarks(0, COUNT // PARTITIONS) for number in range(PARTITIONS)}


def test_topic_is_created_once(broker: EmbeddedBroker) -> None:
    config: dict[str, str | int | float | bool] = {"bootstrap.servers": broker.bootstrap_servers}
    create_topic(config, TOPIC, 3)
    create_topic(config, TOPIC, 3)
    assert list(AdminClient(config).list_topics(timeout=10).topics) == [TOPIC]
    with pytest.raises(UserError, match="exists with 3 partitions, not 4"):
        create_topic(config, TOPIC, 4)


def test_restart_forgets_and_shows_it(tmp_path: Path) -> None:
    with EmbeddedBroker.start(tmp_path) as first:
        produce(first.bootstrap_servers, 10)
        identity = cluster_id_at(first.bootstrap_servers, timeout_s=2)
        port = int(first.bootstrap_servers.split(":")[1])
    with EmbeddedBroker.start(tmp_path, port) as second:
        assert second.bootstrap_servers == first.bootstrap_servers
        assert cluster_id_at(second.bootstrap_servers, timeout_s=2) not in (identity, None)
        with (
            KafkaSource({"bootstrap.servers": second.bootstrap_servers}, TOPIC, timeout_s=5) as source,
            pytest.raises(NoTopic, match=r"forgets everything when it is stopped.* under a new USAGE_ANALYTICS_HOME"),
        ):
            source.watermarks()
        produce(second.bootstrap_servers, 4)
        assert_holds(second.bootstrap_servers, 4)


def test_taken_port_is_named() -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", free_port()))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} on 127.0.0.1 is taken"):
            EmbeddedBroker.start(port=port)


def test_missing_binary_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"binary is missing.*nowhere"):
        EmbeddedBroker.start(tmp_path)


def test_failed_start_tells_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "tansu"
    binary.write_text("#!/bin/sh\necho no room on the disk\nexit 0\n", encoding="utf-8")  # Tansu too exits with 0
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    with pytest.raises(UserError, match=r"(?s)ended at its start.*no room on the disk"):
        EmbeddedBroker.start(tmp_path / "broker")
    assert EmbeddedBroker.running(tmp_path / "broker") is None


def test_is_found_and_stopped_by_directory(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
print(EmbeddedBroker.start(Path({str(tmp_path)!r}), detached=True).bootstrap_servers)
"""
    address = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    found = EmbeddedBroker.running(tmp_path)  # its starter has ended
    assert found is not None
    try:
        assert found.bootstrap_servers == address
        with pytest.raises(UserError, match="already runs"):
            EmbeddedBroker.start(tmp_path)
    finally:
        found.stop()
    assert EmbeddedBroker.running(tmp_path) is None
    assert cluster_id_at(address, timeout_s=1) is None
    found.stop()  # again, harmless


def test_one_that_does_not_answer_is_told_as_such_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_environment(monkeypatch, tmp_path, KAFKA_TIMEOUT_S=1)
    settings = load_settings()
    with EmbeddedBroker.start(settings.broker_directory) as broker:
        pid = json.loads((settings.broker_directory / "broker.json").read_text(encoding="utf-8"))["pid"]
        os.kill(pid, signal.SIGSTOP)
        told = f"Kafka at {broker.bootstrap_servers} did not answer within 1 s"
        with pytest.raises(UserError, match=told), parts.kafka_source(settings) as source:
            source.watermarks()
        with pytest.raises(UserError, match="already runs"):
            EmbeddedBroker.start(settings.broker_directory)
        found = EmbeddedBroker.running(settings.broker_directory)
        assert found is not None
        found.stop()
        assert EmbeddedBroker.running(settings.broker_directory) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_ends_with_its_parent(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
broker = EmbeddedBroker.start(Path({str(tmp_path)!r}))
print(broker.bootstrap_servers, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    deadline = time.monotonic() + 5
    while cluster_id_at(parent.stdout.strip(), timeout_s=1) is not None:
        assert time.monotonic() < deadline, "the broker outlived its parent"
        time.sleep(0.05)


def test_outlives_the_thread_that_started_it() -> None:
    started: list[EmbeddedBroker] = []
    thread = threading.Thread(target=lambda: started.append(EmbeddedBroker.start()))
    thread.start()
    thread.join()
    time.sleep(0.2)
    with started[0] as broker:
        assert cluster_id_at(broker.bootstrap_servers, timeout_s=2) is not None
        directory = broker.directory
    assert not directory.exists()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    if message := apache_kafka.missing_tools():
        pytest.skip(message)
    with ApacheKafka.start(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.mark.apache_kafka
def test_apache_kafka_keeps_its_data(kafka: ApacheKafka) -> None:
    produce(kafka.bootstrap_servers)
    expected = [(0, COUNT // PARTITIONS)] * PARTITIONS
    assert watermarks(kafka.bootstrap_servers) == expected
    for end in (kafka.stop, kafka.kill):
        end()
        assert cluster_id_at(kafka.bootstrap_servers, timeout_s=1) is None
        kafka.restart()
        assert watermarks(kafka.bootstrap_servers) == expected
        assert_holds(kafka.bootstrap_servers)


@pytest.mark.apache_kafka
def test_apache_kafka_creates_no_topic_unasked(kafka: ApacheKafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    found = admin.list_topics("missing", timeout=10).topics["missing"]
    assert found.error is not None
    assert found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert "missing" not in admin.list_topics(timeout=10).topics


def test_missing_java_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install openjdk-17-jre-headless maven"):
        ApacheKafka.start(tmp_path / "kafka")
