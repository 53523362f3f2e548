"""Sweeping: files of runs that died go once they cannot count any more, and nothing else does."""

from pathlib import Path

import pytest
from fakes import AMPLE, OPEN, TOPIC, FakeKafka, hire, land_all, messages_in_lake

from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.landing import GRACE, land
from usage_analytics.ingestion.offset_log import OffsetLog, chunk_name
from usage_analytics.ingestion.record_rebuilding import rebuild_records
from usage_analytics.ingestion.shares import Share
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import Window

LATER = Window(OPEN.end, OPEN.end + (OPEN.end - OPEN.start), "2026-11-23T1015")


class Lake:
    """Two Kafka partitions with some messages, and what lies in the folders of two windows."""

    def __init__(self, root: Path) -> None:
        self.kafka, self.layout = FakeKafka.of(2), Layout(root, TOPIC)
        self.log = OffsetLog(self.layout.offsets)
        for kafka_partition in range(2):
            self.kafka.produce(kafka_partition, b"a", b"b", b"c")

    def left_by_a_dead_run(self, window: Window, kafka_partition: int = 0, start: int = 0, end: int = 2) -> Path:
        """A chunk whole on disk, whose run died before its record was written."""
        name = f"{chunk_name(TOPIC, kafka_partition, start)}+0dead000.parquet"
        writer = ChunkWriter(self.layout.raw_chunk(window.key, name))
        for batch in self.kafka.read(kafka_partition, start, end, 100):
            writer.write(batch)
        writer.close(end)
        return writer.path

    def files(self) -> set[str]:
        return {path.name for path in self.layout.offsets.parent.glob("window=*/*")}

    def committed_files(self) -> set[str]:
        return {record.file for record in self.log.all()}


@pytest.fixture
def lake(memory_path: Path) -> Lake:
    return Lake(memory_path)


@pytest.mark.parametrize("landed_into", [OPEN, LATER], ids=["the same window", "a later one"])
def test_the_file_of_a_run_that_died_goes_once_its_start_is_committed(lake: Lake, landed_into: Window) -> None:
    left = lake.left_by_a_dead_run(OPEN)
    land_all(lake.kafka, lake.layout, landed_into)
    assert not left.exists()
    assert lake.files() == lake.committed_files()


@pytest.mark.parametrize("window", [OPEN, LATER], ids=["the same window", "a later one"])
def test_the_file_of_a_racer_that_died_after_the_winner_was_done_goes_with_the_next_run(
    lake: Lake, window: Window
) -> None:
    land_all(lake.kafka, lake.layout)
    left = lake.left_by_a_dead_run(OPEN)
    land_all(lake.kafka, lake.layout, window)  # nothing waits
    assert not left.exists()
    assert lake.files() == lake.committed_files()


def test_a_backfill_of_an_old_window_sweeps_it(lake: Lake) -> None:
    land_all(lake.kafka, lake.layout)
    left = lake.left_by_a_dead_run(OPEN)
    land(hire(lake.kafka), lake.log, lake.layout, OPEN, AMPLE, OPEN.end + 2 * GRACE)
    assert not left.exists()
    assert lake.files() == lake.committed_files()


def test_a_file_that_a_lost_record_may_be_made_of_again_stays(lake: Lake) -> None:
    land_all(lake.kafka, lake.layout)
    record = lake.log.firsts()[0]
    lake.kafka.produce(0, b"d")
    land_all(lake.kafka, lake.layout)
    lake.log.folder.joinpath("000", "0" * 11, f"{0:020d}.json").unlink()
    another = lake.left_by_a_dead_run(OPEN)
    land_all(lake.kafka, lake.layout)
    assert {record.file, another.name} <= lake.files()
    assert rebuild_records(lake.log, lake.layout, 0, 0) == [record]


def test_nothing_goes_while_the_file_of_the_record_is_gone(lake: Lake) -> None:
    land_all(lake.kafka, lake.layout)
    record = lake.log.firsts()[0]
    lake.layout.raw_chunk(record.window, record.file).unlink()
    left = [lake.left_by_a_dead_run(window) for window in (OPEN, LATER)]
    land_all(lake.kafka, lake.layout)
    assert all(path.exists() for path in left)


def test_files_that_are_no_chunks_and_those_of_other_shares_stay(lake: Lake) -> None:
    land_all(lake.kafka, lake.layout)
    of_share = [lake.left_by_a_dead_run(OPEN, kafka_partition) for kafka_partition in range(2)]
    copy = of_share[0].with_name(f"copy of {of_share[0].name}.parquet")
    copy.write_bytes(b"somebody's")
    share = OffsetLog(lake.layout.offsets, Share(0, 2))
    land(hire(lake.kafka), share, lake.layout, OPEN, AMPLE, OPEN.start)
    assert [path.exists() for path in of_share] == [False, True]
    assert copy.exists()


def test_a_racer_whose_file_was_swept_while_it_wrote_gives_way(lake: Lake) -> None:
    def winner(number: int) -> None:
        lake.kafka.after_batch = lambda number: None
        land_all(lake.kafka, lake.layout)

    lake.kafka.after_batch = winner
    land_all(lake.kafka, lake.layout)
    assert lake.files() == lake.committed_files()
    assert [[offset for offset, _, _ in messages_in_lake(lake.layout, number)] for number in range(2)] == [
        [0, 1, 2]
    ] * 2
