"""How long Kafka still keeps what has not been landed: told before it is too late, by whichever rule is nearer."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from fakes import RECEIVED, FakeKafka, land_all

from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.range_reader import Undeliverable
from usage_analytics.ingestion.retention import Deadline, Retention, time_left, unread
from usage_analytics.lake.layout import Layout

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def at(hours: float) -> datetime:
    return RECEIVED + timedelta(hours=hours)


@pytest.fixture
def waiting(memory_path: Path) -> tuple[FakeKafka, OffsetLog]:
    kafka, layout = FakeKafka.of(3), Layout(memory_path, "clicks")
    kafka.received = at(-20)
    kafka.produce(0, *[b"landed"] * 5)
    land_all(kafka, layout)
    kafka.received = RECEIVED
    kafka.produce(0, *[b"x" * 100] * 40)
    kafka.produce(1, *[b"x" * 50] * 10)
    return kafka, OffsetLog(layout.offsets)


def layout_of(log: OffsetLog) -> Layout:
    return Layout(log.folder.parents[2], "clicks")


def deadlines(kafka: FakeKafka, log: OffsetLog, retention: Retention, now: datetime) -> list[Deadline]:
    found = unread(kafka, log, layout_of(log), retention, now)
    assert found.refusals == []
    return found.deadlines


def test_by_age_the_oldest_unread_message_counts(waiting: tuple[FakeKafka, OffsetLog]) -> None:
    found = deadlines(*waiting, Retention(time=DAY), at(4))
    assert [(d.kafka_partition, d.waiting, d.left, d.rule) for d in found] == [
        (0, 40, 20 * HOUR, "retention.ms"), (1, 10, 20 * HOUR, "retention.ms"),
    ]  # fmt: skip


def test_by_size_the_pace_counts_at_which_messages_came(waiting: tuple[FakeKafka, OffsetLog]) -> None:
    # Kafka partition 0: 40 messages of some 100 bytes in 4 hours, so ten an hour, and there is room for 60 more.
    nearest = deadlines(*waiting, Retention(time=DAY, size_bytes=10_000), at(4))[0]
    assert (nearest.kafka_partition, nearest.rule) == (0, "retention.bytes")
    assert nearest.left / HOUR == pytest.approx(6, rel=0.1)


def test_nothing_waits_or_everything_is_kept(waiting: tuple[FakeKafka, OffsetLog], memory_path: Path) -> None:
    kafka, log = waiting
    assert deadlines(kafka, log, Retention(), at(4)) == []
    land_all(kafka, Layout(memory_path, "clicks"))
    assert deadlines(kafka, log, Retention(time=DAY, size_bytes=1), at(4)) == []


def test_times_that_no_clock_shows_say_nothing_of_the_age(waiting: tuple[FakeKafka, OffsetLog]) -> None:
    kafka, log = waiting
    kafka.kafka_partitions[0].received_us |= {5: 2**50 * 1_000, 6: 253_402_300_800_000_000}
    kafka.kafka_partitions[1].received_us = dict.fromkeys(range(10), 2**50 * 1_000)
    assert [(d.kafka_partition, d.left) for d in deadlines(kafka, log, Retention(time=DAY), at(4))] == [(0, 20 * HOUR)]


def test_the_largest_number_there_is_stands_for_no_limit() -> None:
    assert Retention.of_settings(2**63 - 1, None) == Retention()
    assert Retention.of_settings(86_400_000, 5) == Retention(DAY, 5)


def test_what_is_overdue_has_no_time_left() -> None:
    assert time_left(Retention(HOUR, 100), 10, 2 * HOUR, 50.0) == [
        (timedelta(), "retention.ms"), (timedelta(), "retention.bytes"),
    ]  # fmt: skip


class BrokenPartition(FakeKafka):
    """Kafka partition 2 gives nothing but an error."""

    def read(self, kafka_partition: int, start: int, end: int, batch_messages: int) -> Iterator[pa.RecordBatch]:
        if kafka_partition == 2:
            raise Undeliverable("the disk of that broker is gone")
        return super().read(kafka_partition, start, end, batch_messages)


def test_where_it_is_too_late_is_told_and_the_deadlines_of_the_others(waiting: tuple[FakeKafka, OffsetLog]) -> None:
    kafka, log = BrokenPartition(waiting[0].kafka_partitions), waiting[1]
    kafka.kafka_partitions[0].low = 7
    kafka.produce(2, b"m")
    found = unread(kafka, log, layout_of(log), Retention(time=DAY), at(4))
    assert [(d.kafka_partition, d.left) for d in found.deadlines] == [(1, 20 * HOUR)]
    [lost, broken] = found.refusals
    assert "Kafka partition 0: Kafka deleted offsets 5 to 7 before they were landed" in lost
    assert broken == "the disk of that broker is gone"
