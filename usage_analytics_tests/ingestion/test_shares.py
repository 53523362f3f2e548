"""Shares: disjoint, covering, and landing one never depends on how far others have come."""

from pathlib import Path

import pytest
from fakes import AMPLE, OPEN, TOPIC, FakeKafka, FakePartition, hire, memory_folder, messages_in_lake
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.ingestion.landing import LandingReport, land
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.ingestion.shares import MOST_SHARES, Share, all_shares, parse_share
from usage_analytics.ingestion.verification import tiling_faults
from usage_analytics.lake.layout import Layout

SHARES = st.integers(1, MOST_SHARES).flatmap(lambda of: st.builds(Share, st.integers(0, of - 1), st.just(of)))


@given(count=st.integers(1, MOST_SHARES), kafka_partition=st.integers(0, 10_000))
def test_each_kafka_partition_belongs_to_one_share(count: int, kafka_partition: int) -> None:
    assert [share.takes(kafka_partition) for share in all_shares(count)].count(True) == 1


@given(one=SHARES, other=SHARES)
def test_shares_overlap_where_a_kafka_partition_is_of_both(one: Share, other: Share) -> None:
    both = any(one.takes(number) and other.takes(number) for number in range(one.of * other.of))
    assert one.overlaps(other) == other.overlaps(one) == both
    assert parse_share(str(one)) == one


@pytest.mark.parametrize("text", ["", "1", "2/2", "0/0", "-1/2", "0/65", "0 / 2", "0/2\n", "\u0661/\u0662", "9" * 900])
def test_a_text_that_names_no_share_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_share(text)
    assert str(caught.value).startswith(f"share {text[:20]!r} is none: it is written number/of, such as 0/2 and 1/2")


def land_share(kafka: FakeKafka, layout: Layout, share: Share) -> list[ChunkRecord]:
    return report_of_share(kafka, layout, share).landed


def report_of_share(kafka: FakeKafka, layout: Layout, share: Share) -> LandingReport:
    return land(hire(kafka), OffsetLog(layout.offsets, share), layout, OPEN, AMPLE, OPEN.start)


@settings(max_examples=40)
@given(
    count=st.integers(1, 4),
    steps=st.lists(st.one_of(st.just("add"), st.integers(0, 7).map(lambda n: ("produce", n)),
                             st.integers(0, 3).map(lambda n: ("land", n))), max_size=20),
)  # fmt: skip
def test_in_whatever_order_shares_land_all_comes_through_once(count: int, steps: list[object]) -> None:
    kafka, sent = FakeKafka.of(2), 0
    with memory_folder() as folder:
        layout = Layout(Path(folder), TOPIC)
        for step in [*steps, *(("land", number) for number in range(count))]:
            match step:
                case "add":  # to a topic that is in use
                    kafka.kafka_partitions[len(kafka.kafka_partitions)] = FakePartition()
                case "produce", int(number):
                    kafka.produce(number % len(kafka.kafka_partitions), f"{sent}".encode())
                    sent += 1
                case "land", int(number):
                    share = Share(number % count, count)
                    assert all(share.takes(record.kafka_partition) for record in land_share(kafka, layout, share))
        for number, held in kafka.kafka_partitions.items():
            assert messages_in_lake(layout, number) == [(offset, *pair) for offset, pair in held.messages.items()]
        assert tiling_faults(list(OffsetLog(layout.offsets).all())) == []


def test_a_recreated_topic_is_refused_by_a_share_that_has_nothing_yet(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(2), Layout(memory_path, TOPIC)
    kafka.produce(0, b"of the first topic")
    assert len(land_share(kafka, layout, Share(0, 2))) == 1
    kafka.identity = "second"
    kafka.produce(1, b"of another topic")
    with pytest.raises(UserError, match="deleted and created again"):
        land_share(kafka, layout, Share(1, 2))


def test_a_share_lands_what_it_can_whatever_is_wrong_with_others(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(2), Layout(memory_path, TOPIC)
    for number in (0, 1):
        kafka.produce(number, b"first")
        land_share(kafka, layout, Share(number, 2))
        kafka.produce(number, b"second")
    kafka.kafka_partitions[1].low = 2  # deleted before it was landed
    assert [record.kafka_partition for record in land_share(kafka, layout, Share(0, 2))] == [0]
    assert report_of_share(kafka, layout, Share(0, 2)).refusals == []
    kafka.unanswered = {1: "no broker leads Kafka partition 1"}
    assert report_of_share(kafka, layout, Share(0, 2)).refusals == []
    kafka.unanswered = {}
    [refusal] = report_of_share(kafka, layout, Share(1, 2)).refusals
    assert "Kafka partition 1: Kafka deleted offsets 1 to 2 before they were landed" in refusal
