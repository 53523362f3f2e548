"""How long Kafka still keeps what has not been landed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from usage_analytics.ingestion.chunk_file import YEAR_10000_US
from usage_analytics.ingestion.client_settings import reason
from usage_analytics.ingestion.continuation import read_on
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.planning import LeftAlone, MessageSource, plan_what_agrees
from usage_analytics.lake.layout import Layout

LOOKED_AT = 100  # waiting messages of a Kafka partition that are read to know their age and size
LITTLE_TIME, NO_TIME = timedelta(hours=6), timedelta(hours=1)  # until Kafka deletes what has not been landed


@dataclass(frozen=True)
class Retention:
    """What a topic keeps of each Kafka partition; None: without limit. ``unknown``: why the cluster does not tell."""

    time: timedelta | None = None
    size_bytes: int | None = None
    unknown: str | None = None

    @classmethod
    def of_settings(cls, milliseconds: int | None, size_bytes: int | None) -> "Retention":
        """By ``retention.ms`` and ``retention.bytes``; some set the largest number there is for no limit."""
        limited = milliseconds is not None and milliseconds < timedelta.max // timedelta(milliseconds=1)
        return cls(timedelta(milliseconds=milliseconds or 0) if limited else None, size_bytes)


@dataclass(frozen=True)
class Deadline:
    """When Kafka deletes the oldest message of a Kafka partition that waits, if nothing is landed until then."""

    kafka_partition: int
    waiting: int
    left: timedelta
    rule: str  # the topic's setting by which it is deleted

    @property
    def is_soon(self) -> bool:
        return self.left < LITTLE_TIME

    @property
    def is_at_hand(self) -> bool:
        return self.left < NO_TIME

    def describe(self) -> str:
        """When, of what; and what to do, if it is soon."""
        when = f"in {self.left / timedelta(hours=1):.1f} hours"
        told = f"Kafka deletes unread messages of Kafka partition {self.kafka_partition} {when}"
        if not self.is_soon:
            return told
        return f"{told}: have them landed (usage-analytics ui starts runs by itself), or raise the topic's {self.rule}"


@dataclass(frozen=True)
class Unread:
    """What waits on Kafka: the deadlines, the nearest first; and why Kafka partitions are left alone by landing."""

    deadlines: list[Deadline]
    refusals: list[str]

    @property
    def nearest(self) -> Deadline | None:
        return self.deadlines[0] if self.deadlines else None


def topic_retention(client: dict[str, Any], topic: str, timeout_s: float) -> Retention:
    """What a topic's settings say, as far as the cluster tells them."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

    admin = AdminClient({**client, "allow.auto.create.topics": False, "log_level": 0})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        found = admin.describe_configs([resource], request_timeout=timeout_s)[resource].result()
    except KafkaException as error:
        told = f"Kafka does not tell what topic {topic!r} keeps: {reason(error)}"
        return Retention(unknown=f"{told} (its user needs the right DescribeConfigs)")
    return Retention.of_settings(_limit(found, "retention.ms"), _limit(found, "retention.bytes"))


def unread(source: MessageSource, log: OffsetLog, layout: Layout, retention: Retention, now: datetime) -> Unread:
    """The deadlines of the Kafka partitions where messages wait, and where it is too late already.

    By size a deadline is an estimate: at the pace at which the waiting messages came, and as if Kafka did not compress
    them, so rather too early.
    """
    planned = plan_what_agrees(source, log, budget=2**62)
    found, refusals = [], list(planned.refusals)
    for kafka_partition, (start, end) in planned.ranges.items():
        try:
            batch = next(read_on(source, log, layout, kafka_partition, start, end, LOOKED_AT), None)
        except LeftAlone as error:  # one that is broken must not hide the others
            refusals.append(str(error))
            continue
        if batch is not None:
            left = _time_left(retention, end - start, batch, now)
            found += [Deadline(kafka_partition, end - start, span, rule) for span, rule in left]
    return Unread(sorted(found, key=lambda deadline: deadline.left), refusals)


def _time_left(retention: Retention, waiting: int, batch: pa.RecordBatch, now: datetime) -> list[tuple[timedelta, str]]:
    """How long the oldest of waiting messages are kept, by a look at the first of them."""
    # Kafka deletes a segment by its largest timestamp, so that one producer with a wrong clock does not matter.
    times = batch.column("kafka_timestamp_us")
    received_us = pc.max(times.filter(pc.less(times, YEAR_10000_US))).as_py()
    if received_us is None:
        return []
    received = datetime.fromtimestamp(received_us / 1e6, now.tzinfo)
    sizes = sum(pc.sum(pc.binary_length(batch.column(name))).as_py() or 0 for name in ("key", "value"))
    return time_left(retention, waiting, now - received, sizes / batch.num_rows)


def time_left(retention: Retention, waiting: int, age: timedelta, message_bytes: float) -> list[tuple[timedelta, str]]:
    """How long each of the topic's rules leaves the oldest of so many waiting messages; never less than nothing."""
    left = []
    if retention.time is not None:
        left.append((retention.time - age, "retention.ms"))
    if retention.size_bytes is not None:
        each = max(age, timedelta(seconds=1)) / waiting  # from one message to the next
        left.append((each * (retention.size_bytes / max(1.0, message_bytes) - waiting), "retention.bytes"))
    return [(max(span, timedelta()), rule) for span, rule in left]


def _limit(settings: dict[str, Any], name: str) -> int | None:
    try:
        limit = int(settings[name].value)
    except (KeyError, ValueError, TypeError):
        return None
    return limit if limit >= 0 else None
