"""Counts at each hop by when messages arrived on Kafka: a loss shows as the hour or minute in which it happened.

Arrival is Kafka's timestamp: of a topic with ``message.timestamp.type=LogAppendTime`` the broker's clock, by default
(``CreateTime``) the producer's, which may be wrong or, of old messages sent now, long past.
"""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from usage_analytics.ingestion.chunk_file import YEAR_10000_US
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.ingestion.shares import EVERYTHING
from usage_analytics.lake.layout import Layout
from usage_analytics.warehouse.ledger import IN_DAYS, days_of_window
from usage_analytics.warehouse.protocol import Warehouse

HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000
LOADED = f"""
SELECT arrived_us, COUNT(*) AS loaded
FROM (
    SELECT CASE WHEN kafka_timestamp_us < :year_10000_us
                THEN kafka_timestamp_us - (kafka_timestamp_us % :span_us + :span_us) % :span_us END AS arrived_us
    FROM usage_events WHERE topic = :topic AND load_window = :load_window AND {IN_DAYS}
) AS arrivals
GROUP BY arrived_us
"""
COUNTED = ("raw", "enriched", "dead_letters", "loaded")  # enriched: usage events in their files


def counts_by_arrival(
    records: Iterable[ChunkRecord], layout: Layout, warehouse: Warehouse, span_us: int
) -> pl.DataFrame:
    """Columns ``arrived_us`` (start of the span; null: Kafka tells none before the year 10000), and `COUNTED` messages.

    Of whole windows: give all records of a window or none. A file that cannot be read counts nothing.
    """
    records = list(records)
    counted = [_NOTHING]
    for record in records:
        counted += [
            _counted(layout.raw_chunk(record.window, record.file), "raw", span_us),
            _counted(layout.usage_events(record.window, record.name), "enriched", span_us),
            _counted(layout.dead_letters(record.window, record.name), "dead_letters", span_us),
        ]
    bounds = {"span_us": span_us, "year_10000_us": YEAR_10000_US, "topic": layout.topic}
    with warehouse.session() as session:
        for window in sorted({record.window for record in records}):
            days = days_of_window(session, layout.topic, EVERYTHING, window)
            counted.append(session.frame(LOADED, {**bounds, "load_window": window, **days}).cast(pl.Int64))
    together = pl.concat(counted, how="diagonal")
    return together.group_by("arrived_us").agg(pl.exclude("arrived_us").sum()).sort("arrived_us")


_NOTHING = pl.DataFrame(schema=dict.fromkeys(("arrived_us", *COUNTED), pl.Int64))


def _counted(path: Path, name: str, span_us: int) -> pl.DataFrame:
    try:
        received = pl.read_parquet(path, columns=["kafka_timestamp_us"], glob=False)
    except (OSError, pl.exceptions.PolarsError):  # as good as gone: what it held is not counted
        return _NOTHING
    arrived = pl.col("kafka_timestamp_us") // span_us * span_us
    known = pl.when(pl.col("kafka_timestamp_us") < YEAR_10000_US).then(arrived).alias("arrived_us")
    return received.group_by(known).agg(pl.len().cast(pl.Int64).alias(name))
