"""Counts at each hop by when messages arrived on Kafka: a loss shows as the hour or minute in which it happened."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.layout import Layout
from usage_analytics.warehouse.protocol import Warehouse

HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000
LOADED = """
SELECT kafka_timestamp_us // ? * ? AS arrived_us, count(*) AS loaded FROM usage_events
WHERE topic = ? AND load_window = ? GROUP BY 1
"""


def counts_by_arrival(
    records: Iterable[ChunkRecord], layout: Layout, warehouse: Warehouse, span_us: int
) -> pl.DataFrame:
    """Columns ``arrived_us`` (start of the span; null: Kafka tells no time), ``raw``, ``dead_letters``, ``loaded``.

    Of whole windows: give all records of a window or none.
    """
    records = list(records)
    raw = [layout.raw_chunk(record.window, record.file) for record in records]
    letters = [layout.dead_letters(record.window, record.name) for record in records]
    of_windows = sorted({record.window for record in records})
    loaded = [warehouse.read(LOADED, [span_us, span_us, layout.topic, window]) for window in of_windows]
    counted = [_counted(raw, "raw", span_us), _counted(letters, "dead_letters", span_us)]
    together = pl.concat([*counted, *(each.cast(pl.Int64) for each in loaded)], how="diagonal")
    return together.group_by("arrived_us").agg(pl.exclude("arrived_us").sum()).sort("arrived_us")


def _counted(paths: list[Path], name: str, span_us: int) -> pl.DataFrame:
    there = [path for path in paths if path.exists()]
    if not there:
        return pl.DataFrame(schema={"arrived_us": pl.Int64, name: pl.Int64})
    arrived = (pl.col("kafka_timestamp_us") // span_us * span_us).alias("arrived_us")
    counts = pl.scan_parquet(there).group_by(arrived).agg(pl.len().cast(pl.Int64).alias(name))
    return counts.collect()
