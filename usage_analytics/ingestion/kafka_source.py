"""Reads explicit offset ranges of one topic; consumer groups and their commits play no part."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ClusterMetadata

from usage_analytics.errors import UserError
from usage_analytics.ingestion.client_settings import reason, told_settings
from usage_analytics.ingestion.connection import Heard, metadata, no_answer
from usage_analytics.ingestion.draining import DrainReader, compiled
from usage_analytics.ingestion.embedded_broker import CLUSTER_ID_PREFIX
from usage_analytics.ingestion.planning import Held, Takes, Watermarks
from usage_analytics.ingestion.range_reader import ConsumerReader, RangeReader
from usage_analytics.ingestion.shares import EVERYTHING

MOVING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
LOGGER = logging.getLogger("usage_analytics.kafka")
LOGGER.addHandler(logging.NullHandler())  # else Python prints each of librdkafka's attempts to reach a lost broker
LEAST_S = 1.0  # for a Kafka partition's answer, where others have used up the time-out
SILENCE = 3  # times the time-out: how long a read may hear nothing
NO_TOPIC_ID = "A" * 22  # the zero UUID: what clusters answer that know no topic identities (Kafka before 2.8)
# A full local queue makes librdkafka pause fetching, by default for a second: measured 2-3x slower than 10 ms.
# A fetch at the end of one Kafka partition, 500 ms by default, holds up the read of the next on the same connection.
# Without a look at their checksums, librdkafka hands out messages that a disk or a network has changed.
FETCHING = {
    "check.crcs": True,
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 50,
    "queued.max.messages.kbytes": 32_768,
    "queued.min.messages": 50_000,
}


class NoTopic(UserError):
    """The cluster has no such topic."""


class KafkaSource:
    """One topic on one cluster; every failure to reach it is a `UserError` that names both."""

    def __init__(self, client: dict[str, Any], topic: str, timeout_s: float) -> None:
        self.topic = topic
        self._servers = client["bootstrap.servers"]
        self._timeout_s = timeout_s
        self._heard = Heard(client)
        fixed = {
            "group.id": "usage-analytics",  # librdkafka demands one; nothing is ever committed to it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        heard = {"error_cb": self._heard, "logger": LOGGER}
        with told_settings(client):
            self._consumer = Consumer({**FETCHING, **client, **fixed, **heard})
            self._admin = AdminClient({**client, "allow.auto.create.topics": False, **heard})
        self._one_by_one = ConsumerReader(self._consumer, self._servers, topic, SILENCE * timeout_s, self._heard)
        self._reader: RangeReader = self._one_by_one
        if (libraries := compiled()) is not None:
            self._reader = DrainReader(libraries, {**FETCHING, **client, **fixed}, topic, SILENCE * timeout_s)

    def __enter__(self) -> "KafkaSource":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._consumer.close()

    def topic_id(self) -> str:
        """The topic's identity at this moment; empty where the cluster tells none."""
        cluster = self._metadata()  # tells a wrong password sooner than the question itself
        try:
            asked = self._admin.describe_topics(TopicCollection([self.topic]), request_timeout=self._timeout_s)
            found = str(asked[self.topic].result().topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise self._not_there(cluster, error.args[0].str()) from None
            raise self._unreachable(error) from None
        return "" if found == NO_TOPIC_ID else found

    def watermarks(self, takes: Takes = EVERYTHING.takes) -> dict[int, Watermarks]:
        """What Kafka holds of each Kafka partition, or of some, now."""
        return self.held(takes).whole()

    def held(self, takes: Takes = EVERYTHING.takes) -> Held:
        """The same, without those that cannot be asked, as where no broker leads them; an error if none can."""
        cluster = self._metadata()
        of = self._fetched_watermarks if _is_embedded(cluster) else self._watermarks
        marks: dict[int, Watermarks] = {}
        failed: dict[int, KafkaException] = {}
        deadline = time.monotonic() + self._timeout_s
        for partition in sorted(filter(takes, cluster.topics[self.topic].partitions)):
            try:
                marks[partition] = of(partition, deadline)
            except KafkaException as error:
                failed[partition] = error
        if failed and not marks:
            raise self._unreachable(next(iter(failed.values())))
        return Held(marks, {partition: self._unanswered(partition, error) for partition, error in failed.items()})

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        """The messages of a range: see `RangeReader`."""
        return self._reader.read(kafka_partition, start, end, batch_messages)

    def _metadata(self) -> ClusterMetadata:
        found = metadata(self._consumer, self._heard, self._servers, self._timeout_s, self.topic)
        topic = found.topics[self.topic]
        if topic.error is not None and topic.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise UserError(f"Kafka at {self._servers} does not let this user read topic {self.topic!r}")
        if topic.error is not None or not topic.partitions:
            raise self._not_there(found, topic.error.str() if topic.error is not None else "it has no partitions")
        return found

    def _watermarks(self, kafka_partition: int, deadline: float) -> Watermarks:
        target = TopicPartition(self.topic, kafka_partition)
        while True:
            left_s = max(LEAST_S, deadline - time.monotonic())
            try:
                return Watermarks(*self._consumer.get_watermark_offsets(target, timeout=left_s))
            except KafkaException as error:
                # A new topic's leader, or one that is being moved, takes a moment to know of it.
                if error.args[0].code() not in MOVING or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _fetched_watermarks(self, kafka_partition: int, deadline: float) -> Watermarks:
        # The embedded broker's answer to "which offset is the latest" is too low by up to a batch.
        marks = self._watermarks(kafka_partition, deadline)
        if marks.high == 0:
            return marks
        # The true end is in the answer to a fetch, from an offset that is surely not beyond it.
        self._consumer.assign([TopicPartition(self.topic, kafka_partition, marks.high)])
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            heard = self._consumer.consume(1, timeout=0.2)
            if any(self._one_by_one.next_position(message, marks.high, marks.high + 1) for message in heard):
                _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, kafka_partition), cached=True)
                return Watermarks(marks.low, max(high, marks.high))
        raise UserError(f"the embedded broker at {self._servers} did not answer a fetch of {self.topic!r}")

    def _unreachable(self, error: KafkaException) -> UserError:
        self._consumer.poll(0)  # only then does the client tell what it has heard
        return no_answer(error, self._heard, self._servers, self._timeout_s)

    def _unanswered(self, kafka_partition: int, error: KafkaException) -> str:
        place = f"topic {self.topic!r}, Kafka partition {kafka_partition}"
        told = f"Kafka at {self._servers} did not tell within {self._timeout_s:g} s what it holds of it"
        return f"{place}: {told}: {reason(error)}; it is left alone until Kafka does"

    def _not_there(self, cluster: ClusterMetadata, why: str) -> UserError:
        remedy = "is USAGE_ANALYTICS_TOPIC right? 'usage-analytics produce' and 'simulate' create it"
        if _is_embedded(cluster):
            remedy = (
                "the embedded broker forgets everything when it is stopped; 'usage-analytics simulate' and 'produce' "
                "create it, under a new USAGE_ANALYTICS_HOME where messages of it have landed before"
            )
        return NoTopic(f"topic {self.topic!r} is not on Kafka at {self._servers}: {why}; {remedy}")


def _is_embedded(cluster: ClusterMetadata) -> bool:
    # By what answers, not by how it was named: KAFKA_BOOTSTRAP_SERVERS may name the embedded broker too.
    return str(cluster.cluster_id).startswith(CLUSTER_ID_PREFIX)
