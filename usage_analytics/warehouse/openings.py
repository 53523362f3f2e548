"""What the openings of mini-apps took and fetched: readings of `friction`."""

from datetime import date

import polars as pl

from usage_analytics.warehouse.last_days import first_of_last
from usage_analytics.warehouse.protocol import Warehouse

OF_DAYS = """
SELECT f.mini_app, f.action, CAST(SUM(f.timed) AS BIGINT) AS timed, CAST(SUM(f.latency_us) AS BIGINT) AS latency_us,
       CAST(SUM(f.sized) AS BIGINT) AS sized, CAST(SUM(f.payload_bytes) AS BIGINT) AS payload_bytes
FROM friction AS f
WHERE f.trading_day >= :first AND f.trading_day <= :until
GROUP BY f.mini_app, f.action
"""


def friction_of(warehouse: Warehouse, until: date, trading_days: int) -> pl.DataFrame:
    """Friction added up over the last so many trading days that it has up to one, for `economics.opening_facts`.

    mini_app, action (may be null), timed, latency_us (microseconds), sized, payload_bytes; the sums are whole numbers.
    """
    first = first_of_last(warehouse, until, trading_days)
    summed = warehouse.read(OF_DAYS, {"first": first, "until": until})
    # Not by the query: column stores differ in where nulls stand.
    return summed.sort("mini_app", "action", nulls_last=True)
