"""How much was used in each minute of some trading days: readings of `usage_series`."""

from datetime import date, datetime, time

import polars as pl

from usage_analytics.trading_calendar import TradingClock
from usage_analytics.warehouse.last_days import first_of_last
from usage_analytics.warehouse.protocol import Warehouse

OF_DAYS = """
SELECT u.trading_day, u.minute_us, CAST(SUM(u.events) AS BIGINT) AS events
FROM usage_series AS u
WHERE u.trading_day >= :first AND u.trading_day <= :until
GROUP BY u.trading_day, u.minute_us
"""
MINUTE_US = 60_000_000


def minute_usage(warehouse: Warehouse, clock: TradingClock, until: date, trading_days: int) -> pl.DataFrame:
    """Events over the last so many trading days up to one: trading_day, minute (from the opening hour), events.

    Minutes before it are negative; those after the closing hour are there too.
    """
    first = first_of_last(warehouse, until, trading_days)
    usage = warehouse.read(OF_DAYS, {"first": first, "until": until})
    days = usage.get_column("trading_day").unique()
    opens = {day: opening_us(clock, day) for day in days}
    opened_us = pl.col("trading_day").replace_strict(opens, return_dtype=pl.Int64)
    minute = ((pl.col("minute_us") - opened_us) // MINUTE_US).alias("minute")
    return usage.select("trading_day", minute, "events").sort("trading_day", "minute")


def opening_us(clock: TradingClock, day: date) -> int:
    """When a trading day's clock opens, in epoch microseconds."""
    return int(datetime.combine(day, time(clock.opening_hour), clock.zone).timestamp()) * 10**6
