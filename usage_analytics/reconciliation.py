"""Counts at each hop: offsets = raw + empty offsets, raw = enriched + dead letters, enriched = loaded."""

from collections.abc import Iterable
from dataclasses import dataclass

from usage_analytics.enrichment.enriched_chunk import read_enriched
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.lake.layout import Layout
from usage_analytics.warehouse.protocol import Warehouse

ROWS_BY_CHUNK = """
SELECT l.kafka_partition, l.start_offset, count(e.kafka_offset) AS loaded
FROM load_ledger l LEFT JOIN usage_events e
  ON e.topic = l.topic AND e.kafka_partition = l.kafka_partition AND e.load_window = l.load_window
 AND e.kafka_offset >= l.start_offset AND e.kafka_offset < l.end_offset
WHERE l.topic = ? AND (? IS NULL OR l.load_window = ?)
GROUP BY l.kafka_partition, l.start_offset
"""
LOADED_CHUNKS = "SELECT kafka_partition, start_offset FROM load_ledger WHERE topic = ? AND load_window >= ?"
RECENT_WINDOWS = 40  # more than a trading day of them


def unfinished_windows(log: OffsetLog, topic: str, warehouse: Warehouse) -> list[str]:
    """The recent windows with chunks that are in the lake but not in the warehouse: their run died; newest first."""
    windows = log.latest_windows(RECENT_WINDOWS)
    if not windows:
        return []
    loaded = set(warehouse.read(LOADED_CHUNKS, [topic, windows[-1]]).iter_rows())
    return [w for w in windows if any((r.kafka_partition, r.start) not in loaded for r in log.of_window(w))]


@dataclass(frozen=True)
class HopCounts:
    """The messages of one chunk at each hop; None where the chunk has not come that far."""

    record: ChunkRecord
    enriched: int | None
    dead_letters: int | None
    loaded: int | None

    @property
    def balances(self) -> bool:
        if self.enriched is None or self.dead_letters is None:
            return False
        return self.record.rows == self.enriched + self.dead_letters and self.enriched == self.loaded

    def describe(self) -> str:
        r = self.record
        place = f"Kafka partition {r.kafka_partition}, offsets {r.start} to {r.end}, window {r.window}"
        hops = f"{r.rows} raw, {self.enriched} enriched + {self.dead_letters} dead letters, {self.loaded} loaded"
        return f"{place}: {hops}"


def hop_counts(
    records: Iterable[ChunkRecord], layout: Layout, warehouse: Warehouse, window: str | None = None
) -> list[HopCounts]:
    """Counts of each chunk, of one window or of all; what stands in the warehouse is counted, not believed."""
    rows = warehouse.read(ROWS_BY_CHUNK, [layout.topic, window, window]).iter_rows()
    loaded = {(partition, start): count for partition, start, count in rows}
    counts = []
    for record in records:
        chunk = read_enriched(layout, record)
        enriched, letters = (chunk.rows, chunk.dead_letters) if chunk else (None, None)
        counts.append(HopCounts(record, enriched, letters, loaded.get((record.kafka_partition, record.start))))
    return counts
