"""What the openings of mini-apps took and fetched: readings of `friction`."""

from datetime import date

import polars as pl

from usage_analytics.warehouse.last_days import first_of_last
from usage_analytics.warehouse.marts import middle_of_bucket
from usage_analytics.warehouse.protocol import Warehouse

OF_DAYS = """
SELECT f.mini_app, f.action, CAST(SUM(f.timed) AS BIGINT) AS timed, CAST(SUM(f.latency_us) AS BIGINT) AS latency_us,
       CAST(SUM(f.sized) AS BIGINT) AS sized, CAST(SUM(f.payload_bytes) AS BIGINT) AS payload_bytes
FROM friction AS f
WHERE f.trading_day >= :first AND f.trading_day <= :until
GROUP BY f.mini_app, f.action
"""
LONGEST = "CASE WHEN bucket > p99 THEN p99 ELSE bucket END"
LIMITED = f"""
WITH summed AS (
    SELECT h.mini_app, h.action, h.bucket, SUM(CAST(h.events AS DOUBLE)) AS events
    FROM latency_histogram AS h
    WHERE h.trading_day >= :first AND h.trading_day <= :until
    GROUP BY h.mini_app, h.action, h.bucket
),
running AS (
    SELECT mini_app, action, bucket, events,
           SUM(events) OVER (PARTITION BY mini_app, action ORDER BY bucket ROWS UNBOUNDED PRECEDING) AS so_far,
           SUM(events) OVER (PARTITION BY mini_app, action) AS in_all
    FROM summed
),
reached AS (
    SELECT mini_app, action, bucket, events,
           MIN(CASE WHEN 100 * so_far >= 99 * in_all THEN bucket END) OVER (PARTITION BY mini_app, action) AS p99
    FROM running
)
SELECT mini_app, action,
       SUM(events * {middle_of_bucket(LONGEST)}) / SUM(events * {middle_of_bucket("bucket")}) AS limited
FROM reached
WHERE bucket > 100
GROUP BY mini_app, action
"""


def friction_of(warehouse: Warehouse, until: date, trading_days: int) -> pl.DataFrame:
    """Friction added up over the last so many trading days that it has up to one, for `economics.opening_facts`.

    mini_app, action (may be null), timed, latency_us (microseconds), sized, payload_bytes; the sums are whole numbers.
    Of an action's latencies, the longest hundredth counts as if it had been the 99th percentile: one machine that slept
    while it measured would outweigh all who did not. How much of the sum that leaves is read off `latency_histogram`.
    """
    days = {"first": first_of_last(warehouse, until, trading_days), "until": until}
    summed, limited = warehouse.read(OF_DAYS, days), warehouse.read(LIMITED, days)
    known = summed.join(limited, on=["mini_app", "action"], how="left", nulls_equal=True)
    latency_us = (pl.col("latency_us") * pl.col("limited").fill_null(1.0)).round().cast(pl.Int64)
    # Not by the query: column stores differ in where nulls stand.
    return known.with_columns(latency_us).drop("limited").sort("mini_app", "action", nulls_last=True)
