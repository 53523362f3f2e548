"""A loss or a duplicate is located to hop, Kafka partition and offsets."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import OPEN, TOPIC
from whole_chain import Chain

from usage_analytics.enrichment.enriched_chunk import read_enriched, write_enriched
from usage_analytics.reconciliation.arrivals import COUNTED, MINUTE_US, counts_by_arrival
from usage_analytics.reconciliation.offset_differences import offset_differences
from usage_analytics.warehouse.duckdb import warehouse as duckdb_warehouse

Place = tuple[str, str, int, int, int, int]


def located(chain: Chain) -> list[Place]:
    found = offset_differences(chain.records, chain.layout, chain.warehouse)
    assert all(d.window == OPEN.key for d in found)
    return [(d.hop, d.kind, d.kafka_partition, d.first, d.last, d.messages) for d in found]


def path_of(chain: Chain, number: int) -> Path:
    record = chain.records[number]
    return chain.layout.raw_chunk(record.window, record.file)


def test_a_whole_chain_has_none(chain: Chain) -> None:
    assert located(chain) == []


def test_a_loss_and_a_duplicate_that_hide_each_other_in_the_counts_are_found(chain: Chain) -> None:
    chain.plant("DELETE FROM usage_events WHERE kafka_partition = 1 AND kafka_offset IN (12, 13, 16)")
    chain.plant("INSERT INTO usage_events FROM usage_events WHERE kafka_partition = 1 AND kafka_offset IN (11, 14, 17)")
    assert located(chain) == [
        ("loaded", "lost", 1, 12, 13, 2), ("loaded", "lost", 1, 16, 16, 1), ("loaded", "doubled", 1, 11, 11, 1),
        ("loaded", "doubled", 1, 14, 14, 1), ("loaded", "doubled", 1, 17, 17, 1),
    ]  # fmt: skip
    [counted] = chain.differing()
    assert counted.describe().endswith("8 loaded, not the offsets that were loaded")


@pytest.mark.parametrize(("at_once", "looks"), [(1_000, 1), (25, 2), (1, 4)])
def test_the_warehouse_is_opened_once_for_many_chunks(
    at_once: int, looks: int, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.plant("DELETE FROM usage_events WHERE kafka_partition = 1 AND kafka_offset IN (9, 11)")
    opened: list[str] = []
    keep = duckdb_warehouse.opened
    monkeypatch.setattr(duckdb_warehouse, "opened", lambda *arguments: opened.append("") or keep(*arguments))
    found = offset_differences(reversed(chain.records), chain.layout, chain.warehouse, at_once)
    assert [(d.hop, d.kind, d.kafka_partition, d.first) for d in found] == [
        ("loaded", "lost", 1, 11), ("loaded", "lost", 1, 9)
    ]  # fmt: skip
    assert len(opened) == looks


def test_rows_that_no_event_gave_are_found(chain: Chain) -> None:
    chain.plant("INSERT INTO usage_events SELECT * REPLACE (15 AS kafka_offset) FROM usage_events "
                "WHERE kafka_partition = 0 AND kafka_offset = 11")  # fmt: skip
    assert located(chain) == [("loaded", "unknown to the hop before", 0, 15, 15, 1)]


def test_a_loss_in_enrichment_is_found(chain: Chain) -> None:
    record = chain.records[2]
    chunk = read_enriched(chain.layout, record)
    assert chunk is not None
    events = pq.read_table(chunk.path).slice(2)
    letters = pq.read_table(chain.layout.dead_letters(record.window, record.name))
    write_enriched(chain.layout, record, chunk.fingerprint, events, pa.concat_tables([letters, letters.slice(1)]))
    assert located(chain) == [
        ("enriched", "lost", 1, 1, 2, 2), ("enriched", "doubled", 1, 5, 5, 1),
        ("loaded", "unknown to the hop before", 1, 1, 2, 2),
    ]  # fmt: skip


def test_a_message_twice_in_a_raw_file_is_a_duplicate(chain: Chain) -> None:
    path = path_of(chain, 0)
    messages = pq.read_table(path)
    pq.write_table(pa.concat_tables([messages, messages.slice(3, 2)]), path)
    assert located(chain) == [("raw", "doubled", 0, 3, 4, 2)]
    pq.write_table(pa.concat_tables([messages.slice(0, 9), messages.slice(3, 1)]), path)  # as many as its record says
    assert located(chain) == [
        ("raw", "doubled", 0, 3, 3, 1), ("raw", "lost", 0, 0, 9, 1),
        ("enriched", "unknown to the hop before", 0, 9, 9, 1),
    ]  # fmt: skip
    pq.write_table(pa.concat_tables([messages, pq.read_table(path_of(chain, 1))]), path)
    assert located(chain) == [
        ("raw", "unknown to the hop before", 0, 10, 19, 10), ("enriched", "lost", 0, 10, 19, 10)
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_lost_file_is_a_loss_of_its_messages(damage: str, chain: Chain) -> None:
    path = path_of(chain, 0)
    content = path.read_bytes()
    path.unlink()
    if damage == "cut short":
        path.write_bytes(content[:-30])
    assert located(chain)[0] == ("raw", "lost", 0, 0, 9, 10)
    counts = counts_by_arrival(chain.records, chain.layout, chain.warehouse, MINUTE_US)
    assert counts.select(COUNTED).rows() == [(30, 32, 8, 32)]


def test_counts_by_minute_of_arrival_show_where_a_loss_is(chain: Chain) -> None:
    chain.plant("DELETE FROM usage_events WHERE kafka_partition = 1 AND kafka_offset = 13")
    counts = counts_by_arrival(chain.records, chain.layout, chain.warehouse, MINUTE_US)
    arrived = int(OPEN.start.timestamp() * 1e6)
    assert counts.select("arrived_us", *COUNTED).rows() == [(arrived, 40, 32, 8, 31)]
    assert counts_by_arrival([], chain.layout, chain.warehouse, MINUTE_US).is_empty()
    assert chain.layout.topic == TOPIC
