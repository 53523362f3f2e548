"""Decides which offsets a run lands: what Kafka holds beyond what is in the lake, within a budget."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.ingestion.beginnings import Beginnings, remember, remembered
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.shares import EVERYTHING


@dataclass(frozen=True)
class Watermarks:
    """The offsets ``[low, high)`` that Kafka still holds of one Kafka partition."""

    low: int
    high: int


Ranges = dict[int, tuple[int, int]]  # first offset, and the one after the last, of Kafka partitions
Takes = Callable[[int], bool]  # picks Kafka partitions by their numbers


@dataclass(frozen=True)
class Held:
    """What Kafka holds of the Kafka partitions that could be asked, and the sentences on those that could not."""

    marks: dict[int, Watermarks]
    unanswered: dict[int, str]

    def whole(self) -> dict[int, Watermarks]:
        """What it holds of all; `UserError` where one could not be asked."""
        for why in self.unanswered.values():
            raise UserError(why)
        return self.marks


class LeftAlone(UserError):
    """Why nothing of one Kafka partition can be landed; others may be well."""


class MessageSource(Protocol):
    """Where messages come from: what it holds, and any range of it."""

    topic: str

    def topic_id(self) -> str: ...

    def held(self, takes: Takes = EVERYTHING.takes) -> Held:
        """What Kafka holds of some Kafka partitions now. No answer for any of them is a `UserError`."""
        ...

    def watermarks(self, takes: Takes = EVERYTHING.takes) -> dict[int, Watermarks]:
        """The same, where one that cannot be asked is a `UserError` too."""
        ...

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True)
class Plan:
    """What to land of each Kafka partition, and the sentences that say why others are left alone."""

    ranges: Ranges
    refusals: list[str]


def plan(source: MessageSource, log: OffsetLog, budget: int) -> Ranges:
    """The offset range to land of each Kafka partition of the log that has waiting messages, the budget shared fairly.

    Raises `UserError` where Kafka and the lake disagree (topic recreated, retention overtook us) or Kafka is silent.
    """
    planned = plan_what_agrees(source, log, budget)
    if planned.refusals:
        raise UserError(planned.refusals[0])
    return planned.ranges


def plan_what_agrees(source: MessageSource, log: OffsetLog, budget: int) -> Plan:
    """As `plan`, but a Kafka partition that lost what was not landed, or cannot be asked, keeps no other waiting."""
    topic_id = refuse_recreated(source, log.topic_ids())
    began = remembered(log.folder, topic_id)
    lasts, held = log.lasts(), source.held(log.share.takes)
    waiting, refusals = {}, dict(held.unanswered)
    for kafka_partition, marks in held.marks.items():
        start = marks.low if began is None else began.of(kafka_partition)
        last = lasts.get(kafka_partition)
        start = start if last is None else last.end
        if marks.high < start:
            told = f"the lake holds messages up to offset {start}, but Kafka ends at {marks.high}"
            if last is None or last.topic_id != topic_id or not topic_id:
                raise UserError(_foreign(source.topic, kafka_partition, told))
            refusals[kafka_partition] = cut_short(source.topic, kafka_partition, start, told)
        elif marks.low > start:
            refusals[kafka_partition] = _overtaken(source.topic, kafka_partition, start, marks.low)
        elif marks.high > start:
            waiting[kafka_partition] = (start, marks.high)
    ranges = {}
    by_size = sorted(waiting.items(), key=lambda item: item[1][1] - item[1][0])
    for position, (kafka_partition, (start, high)) in enumerate(by_size):
        end = min(high, start + max(1, budget // (len(by_size) - position)))
        budget = max(0, budget - (end - start))
        ranges[kafka_partition] = (start, end)
    return Plan(dict(sorted(ranges.items())), [refusals[kafka_partition] for kafka_partition in sorted(refusals)])


def remember_beginnings(source: MessageSource, log: OffsetLog, topic_id: str) -> None:
    """Keep where each Kafka partition begins, of whichever share, if the topic is seen for the first time.

    Where one cannot be asked nothing is kept; the next run tries again.
    """
    if remembered(log.folder, topic_id) is None:
        refuse_recreated(source, log.topic_ids())
        held = source.held()
        if not held.unanswered:
            remember(log.folder, Beginnings(topic_id, {number: marks.low for number, marks in held.marks.items()}))


def refuse_recreated(source: MessageSource, known: set[str]) -> str:
    """The topic's id; `UserError` if it is another one than those that are known."""
    # Offsets alone do not tell: a recreated topic that has grown past the committed offset would lose its beginning.
    found = source.topic_id()
    others = known - {found, ""}
    if found and others:
        raise UserError(
            f"topic {source.topic!r} is not the one the lake holds messages of: it was deleted and created again, or "
            f"this is another cluster (topic id {found}, the lake's is {', '.join(sorted(others))}); "
            "give it its own USAGE_ANALYTICS_TOPIC or USAGE_ANALYTICS_HOME"
        )
    return found


def _foreign(topic: str, kafka_partition: int, told: str) -> str:
    # Then nothing may land: what the other Kafka partitions hold is of another topic too.
    return (
        f"topic {topic!r}, Kafka partition {kafka_partition}: {told}; the topic was created again or this is another "
        "cluster (give it its own USAGE_ANALYTICS_TOPIC or USAGE_ANALYTICS_HOME)"
    )


def cut_short(topic: str, kafka_partition: int, committed: int, told: str) -> str:
    """The sentence on a Kafka partition whose log has lost its end, messages that were landed among it."""
    return (
        f"topic {topic!r}, Kafka partition {kafka_partition}: {told}: its log was cut short (a replica that lagged "
        "behind was made leader, or the only one lost its end), or the topic was created again; new messages at "
        f"offsets before {committed} would be lost, so nothing of it is landed (usage-analytics reconcile "
        "--against-kafka names the offsets; another USAGE_ANALYTICS_HOME lands all that Kafka holds now)"
    )


def _overtaken(topic: str, kafka_partition: int, committed: int, low: int) -> str:
    place = f"topic {topic!r}, Kafka partition {kafka_partition}"
    lost = f"--kafka-partition {kafka_partition} --from {committed} --to {low}"
    return (
        f"{place}: Kafka deleted offsets {committed} to {low} before they were landed; nothing was skipped "
        f"(to go on without them: usage-analytics accept-loss {lost})"
    )
