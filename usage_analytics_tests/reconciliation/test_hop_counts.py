"""Reconciliation: a difference between two hops is located to Kafka partition and offset range."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from fakes import KEY, OPEN, TOPIC, FakeKafka, land_all, message, unfinished_windows
from whole_chain import Chain

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.enrichment.enriched_chunk import write_enriched
from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.ingestion.shares import all_shares
from usage_analytics.lake.layout import Layout
from usage_analytics.reconciliation import hop_counts
from usage_analytics.reconciliation.hop_counts import (
    reconcile,
    reconcile_window,
    refuse_lost_records,
    unfinished_chunks,
)
from usage_analytics.trading_calendar import Window, trading_calendar
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse


def test_a_whole_chain_balances(chain: Chain) -> None:
    assert chain.differing() == []
    assert chain.differing(OPEN.key) == []
    for counts in (chain.reconciled(), chain.reconciled(OPEN.key)):
        assert [(c.record.rows, c.enriched, c.dead_letters, c.loaded) for c in counts.chunks] == [(10, 8, 2, 8)] * 4
        assert (counts.loaded, counts.unexplained, counts.differences()) == (32, {}, [])


def test_a_loss_in_the_warehouse_is_located(chain: Chain) -> None:
    chain.plant("DELETE FROM usage_events WHERE kafka_partition = 1 AND kafka_offset = 13")
    [found] = chain.differing()
    assert (found.record.kafka_partition, found.record.start, found.record.end, found.loaded) == (1, 10, 20, 7)
    assert found.describe() == (
        f"Kafka partition 1, offsets 10 to 20, window {OPEN.key}: 10 raw, 8 enriched + 2 dead letters, 7 loaded"
    )


def test_a_loss_in_enrichment_is_located_though_all_that_it_left_is_loaded(chain: Chain) -> None:
    record, chunk = chain.records[2], chain.chunks[2]
    letters = pq.read_table(chain.layout.dead_letters(record.window, record.name))
    less = write_enriched(chain.layout, record, chunk.fingerprint, pq.read_table(chunk.path).slice(2), letters)
    chain.warehouse.load_window(TOPIC, OPEN.key, [*chain.chunks[:2], less, chain.chunks[3]])
    [found] = chain.differing()
    assert found.describe() == (
        f"Kafka partition 1, offsets 0 to 10, window {OPEN.key}: 10 raw, 6 enriched + 2 dead letters, 6 loaded"
    )


def test_a_duplicate_in_the_warehouse_is_located(chain: Chain) -> None:
    chain.plant("INSERT INTO usage_events SELECT * FROM usage_events WHERE kafka_partition = 0 AND kafka_offset = 3")
    [found] = chain.differing()
    assert (found.record.kafka_partition, found.record.start, found.record.end, found.loaded) == (0, 0, 10, 9)


def test_a_chunk_that_lost_all_its_rows_is_located(chain: Chain) -> None:
    chain.plant("DELETE FROM usage_events WHERE kafka_partition = 1 AND kafka_offset < 10")
    [found] = chain.differing()
    assert (found.record.kafka_partition, found.record.start, found.loaded) == (1, 0, 0)


def test_a_chunk_never_loaded_or_never_enriched_is_located(chain: Chain) -> None:
    chain.plant("DELETE FROM load_ledger WHERE kafka_partition = 1 AND start_offset = 10")
    [found] = chain.differing()
    assert (found.record.start, found.loaded) == (10, None)
    chain.chunks[0].path.unlink()
    found, _ = chain.differing()
    assert (found.record.start, found.enriched, found.dead_letters, found.loaded) == (0, None, None, 8)


def test_rows_of_no_chunk_are_told_by_the_window_that_loaded_them(chain: Chain) -> None:
    columns = "* REPLACE ('2026-11-20T1000' AS load_window{more})"
    copy = f"INSERT INTO usage_events SELECT {columns} FROM usage_events WHERE kafka_partition = 1"
    chain.plant(copy.format(more="") + " AND kafka_offset < 10")  # as a lake that lost its records leaves them
    chain.plant(copy.format(more=", kafka_offset + 1000 AS kafka_offset") + " AND kafka_offset >= 10")
    assert chain.differing() == []
    for window, rows in ((OPEN.key, 8), (None, 16)):
        counts = chain.reconciled(window)
        assert (counts.loaded, counts.unexplained) == (32 + rows, {"2026-11-20T1000": rows})
        told = f"the warehouse holds {rows} rows, loaded from window 2026-11-20T1000, that no chunk explains"
        assert counts.differences() == [told]


def test_a_share_answers_for_its_own_kafka_partitions(chain: Chain) -> None:
    chain.plant("DELETE FROM usage_events WHERE kafka_partition = 1 AND kafka_offset = 13")
    columns = "* REPLACE ('2026-11-20T1000' AS load_window)"
    chain.plant(f"INSERT INTO usage_events SELECT {columns} FROM usage_events WHERE kafka_partition = 1")
    for share, differences in zip(all_shares(2), (0, 2), strict=True):
        log = OffsetLog(chain.layout.offsets, share)
        for counts in (
            reconcile_window(log, chain.layout, chain.warehouse, OPEN.key),
            reconcile(log, chain.layout, chain.warehouse),
        ):
            assert {count.record.kafka_partition for count in counts.chunks} == {share.number}
            assert len(counts.differences()) == differences
        refuse_lost_records(log, log.all(), TOPIC, chain.warehouse)
    next(chain.layout.offsets.joinpath("001").rglob("*.json")).unlink()
    even, odd = (OffsetLog(chain.layout.offsets, share) for share in all_shares(2))
    refuse_lost_records(even, even.all(), TOPIC, chain.warehouse)
    with pytest.raises(UserError, match="the lake has lost their records"):
        refuse_lost_records(odd, odd.all(), TOPIC, chain.warehouse)


def test_a_window_of_which_one_chunk_is_not_loaded_is_unfinished(chain: Chain) -> None:
    log = OffsetLog(chain.layout.offsets)
    assert unfinished_windows(log, TOPIC, chain.warehouse) == []
    chain.warehouse.load_window(TOPIC, OPEN.key, chain.chunks[:3])
    assert unfinished_windows(log, TOPIC, chain.warehouse) == [OPEN.key]


def test_windows_whose_run_died_before_loading_are_unfinished(memory_path: Path) -> None:
    kafka, layout, warehouse = FakeKafka.of(2), Layout(memory_path, TOPIC), DuckDBWarehouse(memory_path / "w.duckdb")
    log = OffsetLog(layout.offsets)
    assert unfinished_windows(log, TOPIC, warehouse) == []
    enricher = Enricher(layout, load_mapping("usage_event"), trading_calendar(), KEY, 100)
    keys = [f"2026-11-23T1{n}00" for n in range(4)]
    for number, key in enumerate(keys):
        hours = timedelta(hours=number)
        kafka.produce(number % 2, message(), b"broken")
        records = land_all(kafka, layout, Window(OPEN.start + hours, OPEN.end + hours, key))
        if number in (0, 2):
            warehouse.load_window(TOPIC, key, enricher.enrich(records).chunks)
    assert unfinished_windows(log, TOPIC, warehouse) == [keys[3], keys[1]]


class Landed:
    """A log without chunks, and a warehouse that holds what its ledger is told to."""

    def __init__(self, folder: Path) -> None:
        self.log, self.warehouse = OffsetLog(folder / "offsets"), DuckDBWarehouse(folder / "w.duckdb")
        self.warehouse.read("SELECT 1")  # makes the tables
        self.records: list[ChunkRecord] = []

    def land(self, kafka_partition: int, lengths: list[int], start: int = 0, per_window: int = 1) -> None:
        for number, length in enumerate(lengths):
            window = f"w{number // per_window:03d}"
            record = ChunkRecord(TOPIC, kafka_partition, start, start + length, length, window, "f", "c")
            self.log.commit(record)
            self.records.append(record)
            start += length

    def load(self, records: list[ChunkRecord]) -> None:
        rows = [(r.window, r.topic, r.kafka_partition, r.start, r.end) for r in records]
        names = ["load_window", "topic", "kafka_partition", "start_offset", "end_offset"]
        ledger = pl.DataFrame(rows, schema=names, orient="row").to_arrow()
        with duckdb.connect(str(self.warehouse.path)) as connection:
            connection.register("ledger", ledger)
            connection.execute("DELETE FROM load_ledger")
            more = "0 AS row_count, 0 AS dead_letters, '' AS fingerprint, 0 AS loaded_us"
            connection.execute(f"INSERT INTO load_ledger BY NAME SELECT *, {more} FROM ledger")

    def unfinished(self, log: OffsetLog | None = None) -> list[ChunkRecord]:
        return unfinished_chunks(log or self.log, TOPIC, self.warehouse)


def test_whatever_is_not_loaded_is_unfinished(memory_path: Path) -> None:
    landed, random = Landed(memory_path), Random(7)
    for kafka_partition in range(60):
        lengths = [random.choice([1, 3, 10**7]) for _ in range(random.randint(1, 9))]
        landed.land(kafka_partition, lengths, start=random.choice([0, 5, 10**7 - 1]))
    chances = [random.choice([0, 0.5, 0.9, 1]) for _ in range(60)]
    loaded = [record for record in landed.records if random.random() < chances[record.kafka_partition]]
    landed.load(loaded)
    expected = sorted(
        (r for r in landed.records if r not in loaded), key=lambda r: (r.kafka_partition, -r.start)
    )  # fmt: skip
    assert 50 < len(expected) < len(landed.records) - 50
    assert landed.unfinished() == expected
    for share in all_shares(3):
        mine = [record for record in expected if share.takes(record.kafka_partition)]
        assert landed.unfinished(OffsetLog(landed.log.folder, share)) == mine
    landed.load(landed.records)
    assert landed.unfinished() == []


def test_what_is_finished_is_not_read_again(memory_path: Path, looks: Counter[str]) -> None:
    landed = Landed(memory_path)
    for kafka_partition in (0, 1):
        landed.land(kafka_partition, [100_000] * 600, per_window=10)
    landed.load(landed.records)
    looks.clear()
    assert landed.unfinished() == []
    assert looks == {"read": 2, "listed": 4}  # the newest record of each
    long_ago = landed.records[35]
    landed.load([record for record in landed.records if record != long_ago])
    looks.clear()
    assert landed.unfinished() == [long_ago]
    assert looks["read"] == 4  # it, and the one before it
    assert unfinished_windows(landed.log, TOPIC, landed.warehouse) == ["w003"]


def test_a_lost_warehouse_is_made_good_from_the_newest_windows_on(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch, looks: Counter[str]
) -> None:
    monkeypatch.setattr(hop_counts, "MOST_UNFINISHED", 25)
    landed = Landed(memory_path)
    landed.land(0, [1] * 60, per_window=10)
    looks.clear()
    assert unfinished_windows(landed.log, TOPIC, landed.warehouse) == ["w005", "w004", "w003"]
    assert looks["read"] <= 27
    landed.load(landed.records[30:])
    assert unfinished_windows(landed.log, TOPIC, landed.warehouse) == ["w002", "w001", "w000"]
