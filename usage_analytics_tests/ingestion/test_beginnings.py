"""Before a Kafka partition has a record, what Kafka deleted of it unread is told too."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import AMPLE, OPEN, TOPIC, FakeKafka, FakePartition, hire, land_all, messages_in_lake

from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import accept_loss
from usage_analytics.ingestion.beginnings import BEGINNINGS
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.landing import land
from usage_analytics.ingestion.offset_log import BEGINS, OffsetLog, chunk_name
from usage_analytics.ingestion.record_rebuilding import rebuild_records
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.lake.layout import Layout


class Lake:
    """A topic of two Kafka partitions; the first one's messages are landed, the second is empty as yet."""

    def __init__(self, root: Path) -> None:
        self.kafka, self.layout = FakeKafka.of(2), Layout(root, TOPIC)
        self.log = OffsetLog(self.layout.offsets)
        self.kafka.produce(0, b"a")

    def land(self, share: Share = EVERYTHING) -> list[str]:
        """Lands what there is; the refusals."""
        log = OffsetLog(self.layout.offsets, share)
        return land(hire(self.kafka), log, self.layout, OPEN, AMPLE, OPEN.start).refusals

    def three_messages_of_which_kafka_deletes_two(self, kafka_partition: int) -> int:
        """The first of their offsets."""
        start = self.kafka.kafka_partitions[kafka_partition].high
        self.kafka.produce(kafka_partition, b"x", b"y", b"z")
        self.kafka.kafka_partitions[kafka_partition].low = start + 2
        return start


@pytest.fixture
def lake(memory_path: Path) -> Lake:
    return Lake(memory_path)


def empty_at_first(lake: Lake) -> int:
    lake.land()
    return 1


def emptied_before_it_was_first_seen(lake: Lake) -> int:
    lake.kafka.kafka_partitions[1] = FakePartition(low=7, high=7)
    lake.land()
    return 1


def added_later(lake: Lake) -> int:
    lake.land()
    lake.kafka.kafka_partitions[2] = FakePartition()
    return 2


def of_a_share_that_runs_later(lake: Lake) -> int:
    lake.land(Share(0, 2))
    return 1


@pytest.mark.parametrize(
    "came", [empty_at_first, emptied_before_it_was_first_seen, added_later, of_a_share_that_runs_later]
)
def test_what_kafka_deletes_before_the_first_record_is_a_loss(came: Callable[[Lake], int], lake: Lake) -> None:
    number = came(lake)
    start = lake.three_messages_of_which_kafka_deletes_two(number)
    lake.kafka.produce(0, b"b")
    [refusal] = lake.land()
    lost = f"Kafka partition {number}: Kafka deleted offsets {start} to {start + 2} before they were landed; nothing"
    assert lost in refusal
    assert lake.log.committed() == {0: 2}, "the others land"
    place = (lake.kafka, lake.log, lake.layout, OPEN.key, number)
    with pytest.raises(
        UserError, match=f"Kafka deleted offsets {start} to {start + 2}, not {start + 1} to {start + 2}"
    ):
        accept_loss(*place, start + 1, start + 2, "me")
    record = accept_loss(*place, start, start + 2, "me")
    assert (lake.log.firsts()[-1], lake.log.firsts()[-1].follows) == (record, BEGINS)
    assert lake.land() == []
    assert messages_in_lake(lake.layout, number) == [(start + 2, None, b"z")]


def test_a_lake_of_before_takes_each_kafka_partition_from_where_it_begins_once(lake: Lake) -> None:
    lake.land()
    next((lake.log.folder / BEGINNINGS).iterdir()).unlink()
    lake.three_messages_of_which_kafka_deletes_two(1)
    lake.kafka.kafka_partitions[2] = FakePartition(low=4, high=4)
    assert lake.land() == []
    assert messages_in_lake(lake.layout, 1) == [(2, None, b"z")]
    lake.three_messages_of_which_kafka_deletes_two(2)
    [refusal] = lake.land()
    assert "Kafka partition 2: Kafka deleted offsets 4 to 6" in refusal


def test_a_topic_that_is_created_again_before_anything_was_landed_begins_anew(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(1), Layout(memory_path, TOPIC)
    kafka.kafka_partitions[0] = FakePartition(low=4, high=4)
    assert land_all(kafka, layout) == []
    kafka.identity, kafka.kafka_partitions = "a/second", {0: FakePartition()}
    kafka.produce(0, *[b"x"] * 6)
    assert [(record.start, record.end) for record in land_all(kafka, layout)] == [(0, 6)]


def test_nothing_is_remembered_until_every_kafka_partition_tells_where_it_begins(lake: Lake) -> None:
    lake.kafka.unanswered = {1: "no broker leads it"}
    assert lake.land() == ["no broker leads it"]
    assert lake.log.committed() == {0: 1}
    lake.kafka.unanswered = {}
    lake.kafka.kafka_partitions[1] = FakePartition(low=5, high=5)
    assert lake.land() == []
    assert lake.three_messages_of_which_kafka_deletes_two(1) == 5
    assert "Kafka deleted offsets 5 to 7" in lake.land()[0]


def test_the_chunk_of_a_run_that_died_before_the_first_record_is_no_loss(lake: Lake) -> None:
    lake.land()
    lake.kafka.produce(1, b"x", b"y")
    writer = ChunkWriter(lake.layout.raw_chunk(OPEN.key, f"{chunk_name(TOPIC, 1, 0)}+dead0000.parquet"))
    for batch in lake.kafka.read(1, 0, 2, 10):
        writer.write(batch)
    writer.close(2)
    lake.three_messages_of_which_kafka_deletes_two(1)
    lake.kafka.kafka_partitions[1].low = 2
    with pytest.raises(UserError, match=r"the lake still has offsets 0 to 2, without a record: .* --from 0"):
        accept_loss(lake.kafka, lake.log, lake.layout, OPEN.key, 1, 0, 2, "me")
    [record] = rebuild_records(lake.log, lake.layout, 1, 0)
    assert (record.topic_id, lake.log.firsts()[1].follows) == ("first", BEGINS)
    assert lake.land() == []
    assert [value for _, _, value in messages_in_lake(lake.layout, 1)] == [b"x", b"y", b"x", b"y", b"z"]


def test_a_damaged_file_of_beginnings_is_named(lake: Lake) -> None:
    lake.kafka.kafka_partitions[1] = FakePartition(low=7, high=7)
    lake.land()
    path = next((lake.log.folder / BEGINNINGS).iterdir())
    path.write_bytes(path.read_bytes().replace(b'"1": 7', b'"1": 9'))
    with pytest.raises(UserError, match=r"beginnings/\w+\.json, which says where .* is damaged: .* or delete it"):
        lake.land()
    path.unlink()
    assert lake.land() == []
