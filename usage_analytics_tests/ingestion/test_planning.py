"""Shares of Kafka partitions: whatever their number, each Kafka partition is in one of them."""

from pathlib import Path

from fakes import FakeKafka, memory_folder
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.planning import Share, plan


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 9))
def test_shares_of_shares_have_each_kafka_partition_once(kafka_partition: int, runs: int, threads: int) -> None:
    shares = [part for run in Share().split(runs) for part in run.split(threads)]
    assert [share.has(kafka_partition) for share in shares].count(True) == 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.integers(1, 4))
def test_plans_of_shares_together_are_the_plan_of_all(waiting: list[int], shares: int) -> None:
    kafka = FakeKafka.of(len(waiting))
    for number, count in enumerate(waiting):
        kafka.produce(number, *[b"{}"] * count)
    with memory_folder() as folder:
        log = OffsetLog(Path(folder))
        each = [plan(kafka, log, 10**6, share) for share in Share().split(shares)]
        assert {p: ends for one in each for p, ends in one.items()} == plan(kafka, log, 10**6)
        assert sum(map(len, each)) == sum(count > 0 for count in waiting)
