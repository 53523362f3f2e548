"""A Kafka log that lost its end: no new message at an offset that the lake has another one at is passed over unseen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import AMPLE, OPEN, FakeKafka, hire, land_all, messages_in_lake

from usage_analytics.errors import UserError
from usage_analytics.ingestion.continuation import plan_what_continues
from usage_analytics.ingestion.landing import LandingReport, land
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.lake.layout import Layout

CUT = (
    "topic 'clicks', Kafka partition 0: {}: its log was cut short (a replica that lagged behind was made leader, or "
    "the only one lost its end), or the topic was created again; new messages at offsets before 10 would be lost, so "
    "nothing of it is landed (usage-analytics reconcile --against-kafka names the offsets; another "
    "USAGE_ANALYTICS_HOME lands all that Kafka holds now)"
)
ANOTHER = CUT.format("Kafka now holds another message at offset 9 than the one that was landed from there")


@pytest.fixture
def layout(memory_path: Path) -> Layout:
    return Layout(memory_path, "clicks")


@pytest.fixture
def kafka(layout: Layout) -> FakeKafka:
    """Two Kafka partitions, ten messages of the first and five of the second landed."""
    kafka = FakeKafka.of(2)
    kafka.produce(0, *(b"old %d" % n for n in range(10)))
    kafka.produce(1, *[b"b"] * 5)
    land_all(kafka, layout)
    return kafka


def landed(kafka: FakeKafka, layout: Layout) -> LandingReport:
    return land(hire(kafka), OffsetLog(layout.offsets), layout, OPEN, replace(AMPLE, batch_messages=3), OPEN.start)


def told_before_landing(kafka: FakeKafka, layout: Layout) -> list[str]:
    """What `status` and the last check of a run say."""
    return plan_what_continues(kafka, OffsetLog(layout.offsets), layout).refusals


@pytest.mark.parametrize("threads", [1, 2])
def test_new_messages_behind_other_ones_do_not_land_and_the_others_do(
    threads: int, kafka: FakeKafka, layout: Layout
) -> None:
    before = messages_in_lake(layout, 0)
    kafka.cut_short(0, 8)
    kafka.produce(0, *[b"new"] * 7)
    kafka.produce(1, b"c")
    assert told_before_landing(kafka, layout) == [ANOTHER]
    report = land(hire(kafka), OffsetLog(layout.offsets), layout, OPEN, replace(AMPLE, threads=threads), OPEN.start)
    assert report.refusals == [ANOTHER]
    assert [(record.kafka_partition, record.rows) for record in report.landed] == [(1, 1)]
    assert messages_in_lake(layout, 0) == before


def test_a_log_that_ends_before_what_was_landed_is_told_and_the_others_land(kafka: FakeKafka, layout: Layout) -> None:
    kafka.cut_short(0, 8)
    kafka.produce(1, b"c")
    told = CUT.format("the lake holds messages up to offset 10, but Kafka ends at 8")
    assert told_before_landing(kafka, layout) == [told]
    report = landed(kafka, layout)
    assert (report.refusals, report.messages) == ([told], 1)


@pytest.mark.parametrize("same", ["message", "time"])
def test_the_same_message_received_again_is_another_one(same: str, kafka: FakeKafka, layout: Layout) -> None:
    held = kafka.kafka_partitions[0]
    kafka.produce(0, b"new")
    if same == "message":
        held.received_us[9] = None
    else:
        held.messages[9] = (b"a key", b"old 9")
    assert landed(kafka, layout).refusals == [ANOTHER]


def test_a_topic_created_again_where_kafka_tells_no_identity_is_refused(kafka: FakeKafka, layout: Layout) -> None:
    kafka.identity = ""
    kafka.cut_short(0, 0)
    kafka.produce(0, *[b"of another topic"] * 20)
    assert landed(kafka, layout).refusals == [ANOTHER]
    kafka.cut_short(0, 7)
    with pytest.raises(UserError, match="Kafka ends at 7; the topic was created again or this is another cluster"):
        landed(kafka, layout)


def test_what_kafka_has_deleted_or_compacted_since_proves_nothing(kafka: FakeKafka, layout: Layout) -> None:
    del kafka.kafka_partitions[0].messages[9]
    kafka.produce(0, b"new")
    kafka.kafka_partitions[1].low = 5
    kafka.produce(1, b"new")
    assert told_before_landing(kafka, layout) == []
    assert landed(kafka, layout).messages == 2


def test_offsets_without_a_message_are_passed_over(kafka: FakeKafka, layout: Layout) -> None:
    kafka.skip_offsets(0, 3)
    landed(kafka, layout)
    kafka.produce(0, b"new")
    held = kafka.kafka_partitions[0]
    kept, held.messages[9] = held.messages[9], (None, b"another")
    assert "another message at offset 9 than" in landed(kafka, layout).refusals[0]
    held.messages[9] = kept
    assert landed(kafka, layout).messages == 1


@pytest.mark.parametrize("chunk", ["whole", "gone", "damaged"])
def test_of_a_record_of_before_the_chunk_itself_is_looked_at(chunk: str, kafka: FakeKafka, layout: Layout) -> None:
    log = OffsetLog(layout.offsets)
    record, path = log.at(0, 0), log._path(0, 0)
    assert record is not None
    fields = json.loads(path.read_bytes())
    for newer in ("ends_with", "crc"):
        del fields[newer]
    path.write_bytes(json.dumps(fields).encode())
    raw = layout.raw_chunk(record.window, record.file)
    if chunk == "gone":
        raw.unlink()
    elif chunk == "damaged":
        raw.write_bytes(b"PAR1 no more")
    kafka.cut_short(0, 8)
    kafka.produce(0, *[b"new"] * 5)
    assert landed(kafka, layout).refusals == ([ANOTHER] if chunk == "whole" else [])
