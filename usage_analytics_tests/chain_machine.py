"""Random sequences of produce, ingest, crash, backfill, damage and replay, held against a simple model.

After every step invariants 1, 2 and 3 of the design hold, and 6 for the windows that were brought to their end.
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
from chain_model import KINDS, MAPPINGS, Sent
from crashing import Point, interrupted_at, killed_at, points
from fakes import AMPLE, KEY, TOPIC, FakeKafka, FakePartition, flip, memory_folder, messages_in_lake
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.enrichment.enriched_chunk import (
    EnrichedReader,
    examine_every_byte,
    examine_footers,
    read_enriched,
)
from usage_analytics.ingestion.chunk_landing import Limits, Worker
from usage_analytics.ingestion.landing import LandingReport, has_ended, land
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.ingestion.verification import tiling_faults
from usage_analytics.lake.layout import Layout
from usage_analytics.reconciliation.hop_counts import (
    reconcile,
    reconcile_window,
    refuse_lost_records,
    unfinished_windows,
)
from usage_analytics.reconciliation.offset_differences import offset_differences
from usage_analytics.trading_calendar import Window, trading_calendar
from usage_analytics.warehouse.duckdb import DuckDBWarehouse

CALENDAR = trading_calendar()
WINDOWS = CALENDAR.windows_of(date(2026, 11, 23))
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


class ChainMachine(RuleBasedStateMachine):
    """Kafka in memory; everything behind it as it is."""

    @initialize(arriving=ARRIVING)
    def start(self, arriving: list[tuple[int, str]]) -> None:
        self.folder = memory_folder()
        self.home = Path(self.folder.name) / "home"
        self.home.mkdir()
        self.layout = Layout(self.home, TOPIC)
        self.log = OffsetLog(self.layout.offsets)
        self.warehouse = DuckDBWarehouse(self.home / "warehouse.duckdb")
        self.kafka, self.sent = FakeKafka.of(2), Sent()
        self.window, self.contract = 0, 0
        self.seen: list[ChunkRecord] = []
        self.seen_at: datetime = self.now
        self.made: dict[tuple[str, str, str], list[bytes | None]] = {}
        self.enrichers: dict[int, Enricher] = {}
        self.produce(arriving)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.all_is_done()
            self.folder.cleanup()

    # What runs.

    @property
    def now(self) -> datetime:
        return WINDOWS[self.window].start + timedelta(minutes=1)

    @property
    def enricher(self) -> Enricher:
        if self.contract not in self.enrichers:
            self.enrichers[self.contract] = Enricher(self.layout, MAPPINGS[self.contract], CALENDAR, KEY, 3)
        return self.enrichers[self.contract]

    def run(
        self, window: Window, limits: Limits = AMPLE, share: Share = EVERYTHING, on_the_way: bool = True,
        point: Point | None = None,
    ) -> LandingReport | None:  # fmt: skip
        """A micro-batch, as the assets do it; None where it was killed."""
        reports = []
        with killed_at(point, self.home):
            report = self.land(window, limits, share, on_the_way)
            self.enrich_and_load(window, share)
            reports.append(report)
        if not reports:
            event(f"killed at {point.step}" if point else "")
            self.enrichers.clear()  # they died with their process
            return None
        self.assert_window_came_through(window, share)
        return reports[0]

    def land(self, window: Window, limits: Limits, share: Share = EVERYTHING, on_the_way: bool = True) -> LandingReport:
        worker = Worker(self.kafka, self.enricher.while_landing) if on_the_way else Worker(self.kafka)
        log = OffsetLog(self.layout.offsets, share)
        return land(lambda: nullcontext(worker), log, self.layout, window, limits, self.now)

    def enrich_and_load(self, window: Window, share: Share = EVERYTHING) -> None:
        log = OffsetLog(self.layout.offsets, share)
        examine = examine_every_byte if has_ended(window, self.now) else examine_footers
        self.enricher.enrich(log.of_window(window.key), examine)
        refuse_lost_records(log, log.of_window(window.key), TOPIC, self.warehouse, window.key)
        chunks = EnrichedReader(self.layout, self.enricher.fingerprint).of_window(log, window.key)
        self.warehouse.load_window(TOPIC, window.key, chunks, share)

    def records(self) -> list[ChunkRecord]:
        return list(self.log.all())

    def windows_with_chunks(self) -> list[Window]:
        keys = {record.window for record in self.records()}
        return [window for window in WINDOWS if window.key in keys]

    # What happens.

    @rule(arriving=ARRIVING)
    def produce(self, arriving: list[tuple[int, str]]) -> None:
        for number, kind in arriving:
            kafka_partition = number % len(self.kafka.kafka_partitions)
            high = self.kafka.kafka_partitions[kafka_partition].high
            self.kafka.produce(kafka_partition, self.sent.make(kafka_partition, high, kind))

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

    @rule(point=KILLED)
    def the_contract_changes(self, point: Point | None) -> None:
        self.contract = 1 - self.contract
        kafka, self.kafka = self.kafka, FakeKafka({})  # it takes none
        for window in self.windows_with_chunks():
            with killed_at(point, self.home):
                self.enrich_and_load(window)
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
        with duckdb.connect(str(self.warehouse.path)) as connection:
            connection.execute(ROW_DAMAGES[damage], [TOPIC, kafka_partition, first, end])
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

    def differing(self) -> set[ChunkRecord]:
        counts = reconcile(self.log, self.layout, self.warehouse)
        assert counts.unexplained == {}
        return {count.record for count in counts.chunks if not count.balances}

    # What holds.

    @invariant()
    def each_offset_is_committed_once_up_to_the_last_end(self) -> None:
        records = self.records()
        assert tiling_faults(records) == []
        assert all(first.start == 0 for first in self.log.firsts())
        ends: dict[int, int] = {}
        for record in records:
            ends[record.kafka_partition] = max(record.end, ends.get(record.kafka_partition, 0))
        assert self.log.committed() == ends
        for number, held in self.kafka.kafka_partitions.items():
            assert ends.get(number, 0) <= held.high
            landed = [(offset, value) for offset, _, value in messages_in_lake(self.layout, number)]
            assert landed == self.sent.raw(number, ends.get(number, 0))

    @invariant()
    def older_windows_neither_gain_nor_lose(self) -> None:
        records = self.records()
        assert [record for record in records if record in self.seen] == self.seen
        new = [record for record in records if record not in self.seen]
        closed = {window.key for window in WINDOWS if has_ended(window, self.seen_at)}
        assert not [record for record in new if record.window in closed]
        for kafka_partition in {record.kafka_partition for record in records}:
            windows = [record.window for record in records if record.kafka_partition == kafka_partition]
            assert windows == sorted(windows)
        self.seen, self.seen_at = records, self.now

    @invariant()
    def what_is_enriched_is_a_function_of_the_chunk(self) -> None:
        records = self.records()
        for record in records:
            chunk = read_enriched(self.layout, record)
            if chunk is not None:
                key, files = (record.name, record.checksum, chunk.fingerprint), self.enriched_files(self.layout, record)
                assert self.made.setdefault(key, files) == files
        for path_of, folder in (
            (self.layout.usage_events, "usage_events"), (self.layout.dead_letters, "dead_letters")
        ):  # fmt: skip
            known = {path_of(record.window, record.name) for record in records}
            assert set(self.home.glob(f"{folder}/**/*.parquet")) <= known

    def enriched_files(self, layout: Layout, record: ChunkRecord) -> list[bytes | None]:
        paths = [path_of(record.window, record.name) for path_of in (layout.usage_events, layout.dead_letters)]
        return [path.read_bytes() if path.exists() else None for path in paths]

    def assert_window_came_through(self, window: Window, share: Share = EVERYTHING) -> None:
        """Of a share: raw = enriched + dead letters, enriched = loaded, by count and by the model's messages."""
        log = OffsetLog(self.layout.offsets, share)
        records = log.of_window(window.key)
        assert records == [r for r in self.records() if r.window == window.key and share.takes(r.kafka_partition)]
        assert reconcile_window(log, self.layout, self.warehouse, window.key).differences() == []
        loaded = self.loaded("WHERE load_window = ?", window.key)
        assert [row for row in loaded if share.takes(row[0])] == self.sent.events(records, self.contract)
        assert self.letters(records) == self.sent.dead_letters(records, self.contract)

    def loaded(self, where: str = "", *parameters: str) -> list[tuple[int, int, str]]:
        query = f"SELECT kafka_partition, kafka_offset, event_id FROM usage_events {where} ORDER BY ALL"
        return self.warehouse.read(query, parameters).rows()

    def letters(self, records: list[ChunkRecord]) -> list[tuple[int, int, bytes | None]]:
        paths = [self.layout.dead_letters(record.window, record.name) for record in records]
        columns = ["kafka_partition", "kafka_offset", "value"]
        return [row for path in paths if path.exists() for row in pl.read_parquet(path, columns=columns).rows()]

    def all_is_done(self) -> None:
        """What waits is landed, and every window finished: each offset is accounted for at each hop."""
        self.run(WINDOWS[self.window])
        assert self.log.committed() == {n: p.high for n, p in self.kafka.kafka_partitions.items() if p.high}
        for key in unfinished_windows(self.log, TOPIC, self.warehouse):
            self.enrich_and_load(next(window for window in WINDOWS if window.key == key))
        assert unfinished_windows(self.log, TOPIC, self.warehouse) == []
        for window in self.windows_with_chunks():  # under one contract
            self.enrich_and_load(window)
        records, loaded = self.records(), self.loaded()
        assert self.differing() == set()
        assert not records or offset_differences(records, self.layout, self.warehouse) == []
        assert loaded == self.sent.events(records, self.contract)
        assert self.letters(records) == self.sent.dead_letters(records, self.contract)
        without_messages = sum(r.end - r.start - r.rows for r in records)
        highs = sum(held.high for held in self.kafka.kafka_partitions.values())
        assert highs == len(loaded) + len(self.letters(records)) + without_messages
        assert highs - without_messages == sum(map(len, self.sent.values.values()))
        self.enriched_again_is_the_same(records)

    def enriched_again_is_the_same(self, records: list[ChunkRecord]) -> None:
        elsewhere = Layout(self.home.with_name("elsewhere"), TOPIC)
        elsewhere.root.mkdir()
        elsewhere.root.joinpath("raw").symlink_to(self.home / "raw")
        Enricher(elsewhere, MAPPINGS[self.contract], CALENDAR, KEY, 1_000).enrich(records)
        for record in records:
            assert self.enriched_files(elsewhere, record) == self.enriched_files(self.layout, record)
