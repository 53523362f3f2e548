"""The whole chain over a Kafka in memory, all behind that as it is; and what must hold of it, by a simple model."""

from contextlib import nullcontext
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
from chain_model import MAPPINGS, Sent
from crashing import Point, killed_at
from fakes import AMPLE, KEY, TOPIC, FakeKafka, messages_in_lake, unfinished_windows
from hypothesis import event

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
)
from usage_analytics.reconciliation.offset_differences import offset_differences
from usage_analytics.trading_calendar import Window, trading_calendar
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse

CALENDAR = trading_calendar()
WINDOWS = CALENDAR.windows_of(date(2026, 11, 23))


class ChainUnderTest:
    """Its state, its runs, and assertions that hold between any two runs."""

    def begin(self, home: Path) -> None:
        home.mkdir()
        self.home, self.layout = home, Layout(home, TOPIC)
        self.log, self.warehouse = OffsetLog(self.layout.offsets), DuckDBWarehouse(home / "warehouse.duckdb")
        self.kafka, self.sent = FakeKafka.of(2), Sent()
        self.window, self.contract = 0, 0
        self.seen: list[ChunkRecord] = []
        self.seen_at = self.now
        self.made: dict[tuple[str, str, str], list[bytes | None]] = {}
        self.enrichers: dict[int, Enricher] = {}

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

    def produce(self, arriving: list[tuple[int, str]]) -> None:
        """Messages by the number of their Kafka partition, modulo those that there are, and their kind."""
        for number, kind in arriving:
            kafka_partition = number % len(self.kafka.kafka_partitions)
            high = self.kafka.kafka_partitions[kafka_partition].high
            self.kafka.produce(kafka_partition, self.sent.make(kafka_partition, high, kind))

    def differing(self) -> set[ChunkRecord]:
        counts = reconcile(self.log, self.layout, self.warehouse)
        assert counts.unexplained == {}
        return {count.record for count in counts.chunks if not count.balances}

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
        loaded = self.loaded("WHERE load_window = :window", window=window.key)
        assert [row for row in loaded if share.takes(row[0])] == self.sent.events(records, self.contract)
        assert self.letters(records) == self.sent.dead_letters(records, self.contract)

    def loaded(self, where: str = "", **values: str) -> list[tuple[int, int, str]]:
        query = f"SELECT kafka_partition, kafka_offset, event_id FROM usage_events {where} ORDER BY ALL"
        return self.warehouse.read(query, values).rows()

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
