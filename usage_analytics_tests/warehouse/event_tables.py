"""Events of tests as enrichment leaves them: a table, or chunks on disk that a warehouse can load."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from usage_analytics.enrichment.enriched_chunk import DEAD_LETTER_SCHEMA, EVENT_SCHEMA, EnrichedChunk, write_enriched
from usage_analytics.ingestion.offset_log import ChunkRecord, chunk_name
from usage_analytics.lake.layout import Layout
from usage_analytics_tests.warehouse.session_oracle import Event


def as_table(events: Iterable[Event]) -> pa.Table:
    """Rows of `EVENT_SCHEMA`, in the given order; what no mart looks at is null, or always the same."""
    events = list(events)
    columns = {name: [getattr(event, name) for event in events] for name in Event.__dataclass_fields__}
    columns["phase"] = ["midday"] * len(events)
    nothing = [None] * len(events)
    return pa.table({name: columns.get(name, nothing) for name in EVENT_SCHEMA.names}, schema=EVENT_SCHEMA)


def as_chunks(
    events: Iterable[Event], root: Path, window_of: Callable[[Event], str], fingerprint: str = "f1",
    compression: str = "zstd",
) -> dict[str, list[EnrichedChunk]]:  # fmt: skip
    """Chunks by window, one of each Kafka partition in it; a window's offsets of a Kafka partition have no gaps."""
    held: dict[tuple[str, str, int], list[Event]] = {}
    for event in sorted(events, key=lambda event: event.position):
        held.setdefault((window_of(event), event.topic, event.kafka_partition), []).append(event)
    chunks: dict[str, list[EnrichedChunk]] = {}
    for (window, topic, kafka_partition), rows in held.items():
        start, end = rows[0].kafka_offset, rows[-1].kafka_offset + 1
        assert end - start == len(rows), f"offsets of {topic}/{kafka_partition} in {window} have gaps, or come twice"
        name = chunk_name(topic, kafka_partition, start)
        record = ChunkRecord(topic, kafka_partition, start, end, len(rows), window, name, "00000000")
        tables = as_table(rows), DEAD_LETTER_SCHEMA.empty_table()
        chunks.setdefault(window, []).append(
            write_enriched(Layout(root, topic), record, fingerprint, *tables, compression)
        )
    return chunks
