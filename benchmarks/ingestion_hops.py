"""The hops of `ingestion.py`, each over all messages of the topic that the environment names.

.venv/bin/python benchmarks/ingestion_hops.py ingest
"""

import json
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from unittest.mock import patch

from usage_analytics import parts
from usage_analytics.ingestion import kafka_source
from usage_analytics.ingestion.chunk_landing import Worker
from usage_analytics.ingestion.landing import land
from usage_analytics.micro_batch import land_window
from usage_analytics.settings import load_settings


def consume() -> int:
    settings = load_settings()
    with parts.kafka_source(settings) as source:
        ranges = {partition: (marks.low, marks.high) for partition, marks in source.watermarks().items()}
        batches = (source.read(partition, *ends, settings.batch_messages) for partition, ends in ranges.items())
        return sum(batch.num_rows for each in batches for batch in each)


def consume_in_python() -> int:
    with patch.object(kafka_source, "compiled", lambda: None):
        return consume()


def land_only() -> int:
    settings = load_settings()
    with parts.kafka_source(settings) as source:
        now = datetime.now(UTC)
        window = settings.calendar.window_at(now)
        log, layout = parts.offset_log(settings), parts.layout(settings)
        return land(lambda: nullcontext(Worker(source)), log, layout, window, parts.limits(settings), now).messages


def enrich() -> int:
    settings = load_settings()
    report = parts.enricher(settings).enrich(parts.offset_log(settings).all())
    return report.rows + report.dead_letters


def load() -> int:
    settings = load_settings()
    records = list(parts.offset_log(settings).all())
    chunks = parts.enricher(settings).enrich(records).chunks
    parts.warehouse(settings).load_window(settings.topic, records[0].window, chunks)
    return sum(chunk.rows + chunk.dead_letters for chunk in chunks)


def ingest() -> int:
    settings = load_settings()
    now = datetime.now(UTC)
    return land_window(settings, settings.calendar.window_at(now), now).messages


HOPS = {
    "consume": consume,
    "consume_in_python": consume_in_python,
    "land": land_only,
    "enrich": enrich,
    "load": load,
    "ingest": ingest,
}

if __name__ == "__main__":
    print(json.dumps({"read": HOPS[sys.argv[1]]()}))
