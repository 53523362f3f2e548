"""Random sequences of produce, ingest, crash, backfill, damage and replay, held against a simple model.

After every step invariants 1, 2 and 3 of the design hold, and 6 for the windows that were brought to their end.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl
from chain_model import KINDS
from chain_under_test import WINDOWS, ChainUnderTest
from crashing import Point, interrupted_at, killed_at, points
from fakes import AMPLE, TOPIC, FakeKafka, FakePartition, flip, give_up, memory_folder
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from planting import plant

from usage_analytics.ingestion.beginnings import remembered
from usage_analytics.ingestion.chunk_landing import Limits
from usage_analytics.ingestion.landing import has_ended
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.reconciliation.offset_differences import offset_differences

LIMITS = st.builds(
    Limits,
    messages_per_run=st.integers(2, 20),
    chunk_messages=st.integers(1, 8),
    chunk_bytes=st.sampled_from([200, 2**30]),
    batch_messages=st.integers(1, 5),
    threads=st.just(1),  # what races do is chosen here, not left to the machine: a failure must repeat
)
# Kafka partition (modulo those that there are) and kind.
ARRIVING = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(KINDS))), min_size=3, max_size=16)
SHARES = st.sampled_from([EVERYTHING, EVERYTHING, Share(0, 2), Share(1, 2)])
KILLED = st.one_of(st.none(), points())
RACED = points("batch of a chunk", "wait for the disk", "link of a record", "offset record", "file removed")
FILE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "one bit changed": lambda path: flip(path),
}
ROWS = "topic = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?"
ROW_DAMAGES = {
    "lost": f"DELETE FROM usage_events WHERE {ROWS}",
    "doubled": f"INSERT INTO usage_events FROM usage_events WHERE {ROWS}",
}


class ChainMachine(ChainUnderTest, RuleBasedStateMachine):
    """What may happen to the chain, in any order."""

    @initialize(arriving=ARRIVING)
    def start(self, arriving: list[tuple[int, str]]) -> None:
        self.folder = memory_folder()
        self.begin(Path(self.folder.name) / "home")
        self.produce(arriving)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.all_is_done()
            self.folder.cleanup()

    @invariant()
    def what_must_hold(self) -> None:
        self.each_offset_is_committed_once_up_to_the_last_end()
        self.older_windows_neither_gain_nor_lose()
        self.what_is_enriched_is_a_function_of_the_chunk()

    @rule(arriving=ARRIVING)
    def messages_arrive(self, arriving: list[tuple[int, str]]) -> None:
        self.produce(arriving)

    @rule(data=st.data(), count=st.integers(1, 5))
    def offsets_without_messages(self, data: st.DataObject, count: int) -> None:
        self.kafka.skip_offsets(data.draw(st.sampled_from(sorted(self.kafka.kafka_partitions))), count)

    @rule()
    @precondition(lambda self: len(self.kafka.kafka_partitions) < 4)
    def a_kafka_partition_is_added(self) -> None:
        self.kafka.kafka_partitions[len(self.kafka.kafka_partitions)] = FakePartition()

    @rule(count=st.integers(1, 3))
    @precondition(lambda self: self.window < len(WINDOWS) - 4)
    def time_passes(self, count: int) -> None:
        self.window += count

    @rule(arriving=ARRIVING, limits=LIMITS, share=SHARES, queued=st.booleans(), on_the_way=st.booleans())
    def a_run(
        self, arriving: list[tuple[int, str]], limits: Limits, share: Share, queued: bool, on_the_way: bool
    ) -> None:
        self.produce(arriving)
        window = WINDOWS[max(0, self.window - queued)]
        report = self.run(window, limits, share, on_the_way)
        assert report is not None
        assert all(share.takes(r.kafka_partition) and r.window == window.key for r in report.landed)

    @rule(arriving=ARRIVING, limits=LIMITS, share=SHARES, on_the_way=st.booleans())
    def a_run_that_only_lands(
        self, arriving: list[tuple[int, str]], limits: Limits, share: Share, on_the_way: bool
    ) -> None:
        self.produce(arriving)
        self.land(WINDOWS[self.window], limits, share, on_the_way)

    @rule(arriving=ARRIVING, limits=LIMITS, share=SHARES, on_the_way=st.booleans(), point=points())
    def a_run_that_is_killed(
        self, arriving: list[tuple[int, str]], limits: Limits, share: Share, on_the_way: bool, point: Point
    ) -> None:
        self.produce(arriving)
        self.run(WINDOWS[self.window], limits, share, on_the_way, point)

    @rule(arriving=ARRIVING, mine=LIMITS, others=LIMITS, point=RACED, newer=st.booleans())
    @precondition(lambda self: self.window < len(WINDOWS) - 4)
    def two_runs_that_race(
        self, arriving: list[tuple[int, str]], mine: Limits, others: Limits, point: Point, newer: bool
    ) -> None:
        self.produce(arriving)
        self.window += newer
        with interrupted_at(point, lambda: self.land(WINDOWS[self.window], others)):
            self.run(WINDOWS[self.window - newer], mine)

    @rule(data=st.data(), limits=LIMITS, share=SHARES, point=KILLED)
    @precondition(lambda self: self.seen and self.window > 1)
    def an_older_window_is_materialized(
        self, data: st.DataObject, limits: Limits, share: Share, point: Point | None
    ) -> None:
        before, ended = self.records(), [window for window in WINDOWS if has_ended(window, self.now)]
        with_chunks = [window for window in ended if window in self.windows_with_chunks()]
        window = data.draw(st.sampled_from(with_chunks or ended[-1:]))
        report = self.run(window, limits, share, point=point)
        assert self.records() == before
        assert report is None or (report.landed, report.repaired) == ([], [])

    @rule(data=st.data())
    def kafka_deletes_what_was_landed(self, data: st.DataObject) -> None:
        kafka_partition = data.draw(st.sampled_from(sorted(self.kafka.kafka_partitions)))
        held = self.kafka.kafka_partitions[kafka_partition]
        held.low = data.draw(st.integers(held.low, max(held.low, self.log.committed().get(kafka_partition, 0))))

    @rule(data=st.data(), arriving=ARRIVING, point=KILLED)
    def kafka_deletes_what_was_not_landed(
        self, data: st.DataObject, arriving: list[tuple[int, str]], point: Point | None
    ) -> None:
        self.produce(arriving)
        number = data.draw(st.sampled_from(sorted(self.kafka.kafka_partitions)))
        held, start = self.kafka.kafka_partitions[number], self.log.committed().get(number, 0)
        if remembered(self.log.folder, self.kafka.identity) is None or held.high == start:
            return
        held.low = data.draw(st.integers(start + 1, held.high))
        window = WINDOWS[self.window]
        [refusal] = self.land(window, AMPLE).refusals
        assert f"Kafka partition {number}: Kafka deleted offsets {start} to {held.low} before" in refusal
        with killed_at(point, self.home):
            give_up(self.kafka, self.layout, window.key, number, start)
        give_up(self.kafka, self.layout, window.key, number, start)
        self.sent.forget(self.log.accepted_losses())
        self.seen = self.records()  # what dead runs left may be taken into a window that has ended

    @rule(point=KILLED)
    def the_contract_changes(self, point: Point | None) -> None:
        self.contract = 1 - self.contract
        kafka, self.kafka = self.kafka, FakeKafka({})  # it takes none
        for window in self.windows_with_chunks():
            with killed_at(point, self.home):
                self.enrich_and_load(window)
            self.enrichers.clear()
            self.enrich_and_load(window)
            self.assert_window_came_through(window)
        self.kafka = kafka

    @rule(data=st.data(), damage=st.sampled_from(sorted(FILE_DAMAGES)), point=KILLED)
    @precondition(lambda self: self.seen and self.window < len(WINDOWS) - 4)
    def a_chunk_is_damaged_then_repaired(self, data: st.DataObject, damage: str, point: Point | None) -> None:
        record = self.some_record(data, lambda r: self.kafka.kafka_partitions[r.kafka_partition].low <= r.start)
        if record is None:
            return
        path = self.layout.raw_chunk(record.window, record.file)
        FILE_DAMAGES[damage](path)
        self.window += 2
        window = next(w for w in WINDOWS if w.key == record.window)
        reports = [report for report in (self.run(window, point=point), self.run(window)) if report is not None]
        assert all(report.landed == [] for report in reports)
        if len(reports) == 2:  # none was killed; some bits of a Parquet file mean nothing
            repaired = [report.repaired for report in reports]
            assert repaired == [[record], []] or (damage == "one bit changed" and repaired == [[], []])

    @rule(data=st.data(), damage=st.sampled_from(sorted(FILE_DAMAGES)), of=st.sampled_from(["events", "letters"]))
    @precondition(lambda self: self.seen and self.window < len(WINDOWS) - 4)
    def an_enriched_file_is_damaged_then_made_again(self, data: st.DataObject, damage: str, of: str) -> None:
        path_of = {"events": self.layout.usage_events, "letters": self.layout.dead_letters}[of]
        record = self.some_record(data, lambda r: path_of(r.window, r.name).exists())
        if record is None:
            return
        before = self.differing()
        FILE_DAMAGES[damage](path_of(record.window, record.name))
        if damage != "one bit changed":  # counts are told by footers
            assert self.differing() == before | {record}
        self.window += 2
        self.run(next(w for w in WINDOWS if w.key == record.window))

    @rule(data=st.data(), damage=st.sampled_from(sorted(ROW_DAMAGES)))
    @precondition(lambda self: self.seen)
    def rows_are_damaged_then_loaded_again(self, data: st.DataObject, damage: str) -> None:
        rows = self.warehouse.read("SELECT load_window, kafka_partition, kafka_offset FROM usage_events ORDER BY ALL")
        if rows.is_empty():
            return
        window, kafka_partition, first = rows.row(data.draw(st.integers(0, rows.height - 1)))
        [record] = [r for r in self.records() if r.kafka_partition == kafka_partition and r.start <= first < r.end]
        end = data.draw(st.integers(first + 1, record.end))
        hit = rows.filter(kafka_partition=kafka_partition).filter(pl.col("kafka_offset").is_between(first, end - 1))
        before, located = self.differing(), offset_differences(self.records(), self.layout, self.warehouse)
        plant(self.warehouse.path, ROW_DAMAGES[damage], [TOPIC, kafka_partition, first, end])
        assert self.differing() == before | {record}
        found = [d for d in offset_differences(self.records(), self.layout, self.warehouse) if d not in located]
        assert {(d.hop, d.kind, d.window, d.kafka_partition) for d in found} == {
            ("loaded", damage, window, kafka_partition)
        }
        assert sum(d.messages for d in found) == hit.height
        self.enrich_and_load(next(w for w in WINDOWS if w.key == window))
        assert self.differing() <= before

    def some_record(self, data: st.DataObject, fits: Callable[[ChunkRecord], bool]) -> ChunkRecord | None:
        records = [record for record in self.records() if fits(record)]
        return data.draw(st.sampled_from(records)) if records else None
