"""What the openings of mini-apps took and fetched: readings of `friction`."""

from datetime import date

import polars as pl

from usage_analytics.warehouse.protocol import Warehouse

OF_DAYS = """
SELECT f.mini_app, f.action, CAST(SUM(f.timed) AS BIGINT) AS timed, CAST(SUM(f.latency_us) AS BIGINT) AS latency_us,
       CAST(SUM(f.sized) AS BIGINT) AS sized, CAST(SUM(f.payload_bytes) AS BIGINT) AS payload_bytes
FROM friction AS f
JOIN (
    SELECT trading_day, ROW_NUMBER() OVER (ORDER BY trading_day DESC) AS number
    FROM friction WHERE trading_day <= :until GROUP BY trading_day
) AS d ON d.trading_day = f.trading_day
WHERE d.number <= :trading_days
GROUP BY f.mini_app, f.action
"""


def friction_of(warehouse: Warehouse, until: date, trading_days: int) -> pl.DataFrame:
    """Friction added up over the last so many trading days that it has up to one, for `economics.opening_facts`.

    mini_app, action (may be null), timed, latency_us (microseconds), sized, payload_bytes; the sums are whole numbers.
    """
    summed = warehouse.read(OF_DAYS, {"until": until, "trading_days": trading_days})
    # Not by the query: column stores differ in where nulls stand.
    return summed.sort("mini_app", "action", nulls_last=True)
