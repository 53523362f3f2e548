"""Enrichment while landing: the same files as from the raw chunk, and landing never fails by it."""

import logging
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from fakes import KEY, OPEN, TOPIC, Crash, FakeKafka, message

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment import enriched_chunk
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.enrichment.judge import Judging
from usage_analytics.ingestion.chunk_landing import Limits, Worker
from usage_analytics.ingestion.landing import land
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import trading_calendar

LIMITS = Limits(messages_per_run=10**6, chunk_messages=40, chunk_bytes=2**30, batch_messages=10)
MESSAGES = [message(event_id=str(n)) if n % 7 else b"broken" for n in range(100)]


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka.of(2)
    kafka.produce(0, *MESSAGES)
    kafka.produce(1, None, *MESSAGES[:15])
    return kafka


def enricher(layout: Layout) -> Enricher:
    return Enricher(layout, load_mapping("usage_event"), trading_calendar(), KEY, 25)


def landed(kafka: FakeKafka, layout: Layout) -> list[ChunkRecord]:
    now, log = OPEN.start + timedelta(minutes=1), OffsetLog(layout.offsets)
    return land(
        lambda: nullcontext(Worker(kafka, enricher(layout).while_landing)), log, layout, OPEN, LIMITS, now
    ).landed


def files(layout: Layout) -> dict[str, bytes]:
    made = [*layout.root.glob("usage_events/**/*.parquet"), *layout.root.glob("dead_letters/**/*.parquet")]
    return {str(path.relative_to(layout.root)): path.read_bytes() for path in made}


def test_files_are_those_that_the_raw_chunks_give(kafka: FakeKafka, memory_path: Path) -> None:
    layout = Layout(memory_path, TOPIC)
    records = landed(kafka, layout)
    on_the_way = files(layout)
    assert len(records) == 4
    report = enricher(layout).enrich(records)
    assert (report.enriched_now, report.rows + report.dead_letters) == (0, 116)
    for path in on_the_way:
        (layout.root / path).unlink()
    assert enricher(layout).enrich(records).enriched_now == 4
    assert files(layout) == on_the_way


def test_messages_land_whatever_happens_to_their_enrichment(
    kafka: FakeKafka, memory_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(memory_path, TOPIC)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(enriched_chunk, "write_sealed", full)
        records = landed(kafka, layout)
    assert sum(record.rows for record in records) == 116
    assert files(layout) == {}
    assert "could not be enriched while it was landed" in caplog.text
    assert enricher(layout).enrich(records).enriched_now == 4


def test_a_message_that_could_not_be_judged_leaves_its_chunk_for_later(
    kafka: FakeKafka, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, add, calls = Layout(memory_path, TOPIC), Judging.add, [0]

    def out_of_memory_once(judging: Judging, batch: pa.RecordBatch) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise MemoryError
        add(judging, batch)

    monkeypatch.setattr(Judging, "add", out_of_memory_once)
    records = landed(kafka, layout)
    assert len([path for path in files(layout) if "usage_events" in path]) == len(records) - 1
    report = enricher(layout).enrich(records)
    assert (report.enriched_now, report.rows + report.dead_letters) == (1, 116)


def test_nothing_is_enriched_of_a_chunk_that_was_never_committed(
    kafka: FakeKafka, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(OffsetLog, "commit", die)
    with pytest.raises(Crash):
        landed(kafka, Layout(memory_path, TOPIC))
    assert files(Layout(memory_path, TOPIC)) == {}
