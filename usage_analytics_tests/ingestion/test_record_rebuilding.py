"""Several sound chunks of one start, as dead runs leave them: none is given up, and one that fits gets the record."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import AMPLE, OPEN, TOPIC, FakeKafka, land_all, messages_in_lake

from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import accept_loss
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.offset_log import LOSSES, ChunkRecord, OffsetLog, chunk_name
from usage_analytics.ingestion.record_rebuilding import rebuild_records
from usage_analytics.lake.files import temporary_beside
from usage_analytics.lake.layout import Layout

VALUES = [b"a", b"b", None, b"d", b"e"]


class Lake:
    """A Kafka partition: two messages landed, then three that are on Kafka only."""

    def __init__(self, root: Path) -> None:
        self.kafka, self.layout = FakeKafka.of(1), Layout(root, TOPIC)
        self.log = OffsetLog(self.layout.offsets)
        self.kafka.produce(0, *VALUES[:2])
        land_all(self.kafka, self.layout)
        self.kafka.produce(0, *VALUES[2:])

    def dies_before_the_record(self, start: int, end: int, window: str = OPEN.key, rows: int = 100) -> str:
        """The name of the file of a run that died once it had closed it."""
        dead = len(list(self.layout.raw_window(window).glob("*dead*")))
        writer = ChunkWriter(self.layout.raw_chunk(window, f"{chunk_name(TOPIC, 0, start)}+dead{dead:04d}.parquet"))
        for batch in self.kafka.read(0, start, end, rows):
            writer.write(batch)
        writer.close(end)
        return writer.path.name

    def accept(self, start: int, end: int) -> ChunkRecord:
        return accept_loss(self.kafka, self.log, self.layout, OPEN.key, 0, start, end, "me")

    def messages(self) -> list[bytes | None]:
        return [value for _, _, value in messages_in_lake(self.layout, 0)]


@pytest.fixture
def lake(memory_path: Path) -> Lake:
    return Lake(memory_path)


@pytest.mark.parametrize("ends", [(4, 4), (3, 4), (4, 3)], ids=str)
def test_what_two_dead_runs_left_is_no_loss(lake: Lake, ends: tuple[int, int]) -> None:
    for end in ends:
        lake.dies_before_the_record(2, end)
    lake.kafka.kafka_partitions[0].low = 4
    told = "the lake still has offsets 2 to 4, without a record: usage-analytics rebuild-offset-records"
    with pytest.raises(UserError, match=told):
        lake.accept(2, 4)
    [record] = rebuild_records(lake.log, lake.layout, 0, 2)
    assert (record.start, record.end) == (2, 4)
    land_all(lake.kafka, lake.layout)
    assert lake.messages() == VALUES
    assert len(list(lake.layout.raw_window(OPEN.key).iterdir())) == 3


def test_the_chunks_that_join_the_record_behind_are_taken(lake: Lake) -> None:
    land_all(lake.kafka, lake.layout, limits=replace(AMPLE, chunk_messages=1, batch_messages=1))
    whole = list(lake.log.all())
    assert [record.start for record in whole] == [0, 2, 3, 4]
    lake.dies_before_the_record(2, 5, rows=2)  # longer than what is there before the record behind
    lake.dies_before_the_record(3, 4, "2026-11-23T1015")  # of a newer window than that
    for start in (2, 3):
        lake.log._path(0, start).unlink()
    assert rebuild_records(lake.log, lake.layout, 0, 2) == whole[1:3]
    assert list(lake.log.all()) == whole


def test_chunks_that_differ_where_they_overlap_prove_nothing(lake: Lake) -> None:
    names = [lake.dies_before_the_record(2, 5)]
    lake.kafka.kafka_partitions[0].messages[3] = (None, b"forged")
    names.append(lake.dies_before_the_record(2, 4))
    lake.kafka.kafka_partitions[0].low = 4
    told = f"offset 2: {names[1]} and {names[0]} hold different messages of the same offsets; move away the one that"
    with pytest.raises(UserError) as caught:
        rebuild_records(lake.log, lake.layout, 0, 2)
    assert told in str(caught.value)
    with pytest.raises(UserError, match="the lake still has offsets 2 to 5"):
        lake.accept(2, 4)
    assert [record.start for record in lake.log.all()] == [0]


def test_a_loss_can_be_accepted_again_after_a_death_on_the_way(lake: Lake) -> None:
    lake.kafka.kafka_partitions[0].low = 4
    writer = ChunkWriter(lake.layout.raw_chunk(OPEN.key, f"{chunk_name(TOPIC, 0, 2)}+dead0000.parquet"))
    writer.close(4, accepted_loss="me")
    assert lake.accept(2, 4).accepted_loss == "me"
    land_all(lake.kafka, lake.layout)
    assert lake.messages() == [b"a", b"b", b"e"]


def test_the_half_written_mark_of_a_killed_acceptance_is_passed_over(lake: Lake) -> None:
    lake.kafka.kafka_partitions[0].low = 4
    temporary_beside(lake.log.folder / LOSSES / f"000+{2:020d}").write_bytes(b"")
    record = lake.accept(2, 4)
    assert lake.log.accepted_losses() == [record]
