"""How far the lake has come with the topic: what waits on Kafka, what cannot be landed, how long Kafka keeps it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.planning import MessageSource
from usage_analytics.ingestion.retention import Deadline, Retention, topic_retention, unread
from usage_analytics.settings import Settings


@dataclass(frozen=True)
class KafkaPartitionStatus:
    """One Kafka partition: what Kafka holds, what the lake has, what waits."""

    kafka_partition: int
    low: int
    committed: int | None
    high: int

    @property
    def lag(self) -> int:
        """How many offsets wait."""
        return max(0, self.high - (self.low if self.committed is None else self.committed))


@dataclass(frozen=True)
class KafkaStatus:
    """The Kafka partitions of the topic, and why landing would refuse all of them, or single ones, if it would.

    ``deadline``: when Kafka next deletes what waits; ``retention_unknown``: why that is not known.
    """

    kafka_partitions: list[KafkaPartitionStatus]
    refusal: str | None
    losses: list[str]
    deadline: Deadline | None
    retention_unknown: str | None


def kafka_status(settings: Settings) -> KafkaStatus:
    """Each Kafka partition of the topic."""
    log = parts.offset_log(settings)
    with parts.kafka_source(settings) as source:
        found, retention = _kafka_partitions(source, log), _retention(settings)
        try:
            waiting = unread(source, log, parts.layout(settings), retention, datetime.now(UTC))
        except UserError as error:
            return KafkaStatus(found, str(error), [], None, retention.unknown)
    return KafkaStatus(found, None, waiting.refusals, waiting.nearest, retention.unknown)


def _retention(settings: Settings) -> Retention:
    try:
        return topic_retention(parts.kafka_client(settings), settings.topic, settings.kafka_timeout_s)
    except UserError as error:  # what is told of the topic does not depend on it
        return Retention(unknown=str(error))


def messages_waiting(settings: Settings) -> int:
    """How many offsets Kafka has that the lake has not."""
    with parts.kafka_source(settings) as source:
        return sum(partition.lag for partition in _kafka_partitions(source, parts.offset_log(settings)))


def _kafka_partitions(source: MessageSource, log: OffsetLog) -> list[KafkaPartitionStatus]:
    committed = log.committed()  # before the watermarks, which only grow; a plan tells which cannot be asked
    return [KafkaPartitionStatus(p, m.low, committed.get(p), m.high) for p, m in source.held().marks.items()]
