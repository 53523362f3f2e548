"""Which trading days are the last ones, without looking through any mart."""

from datetime import date

from usage_analytics.warehouse.protocol import Warehouse

DAYS = "SELECT trading_day FROM trading_day_versions WHERE trading_day <= :until"


def first_of_last(warehouse: Warehouse, until: date, trading_days: int) -> date:
    """The first of the last so many trading days with events up to one; that day itself where there is none."""
    days = warehouse.read(DAYS, {"until": until}).get_column("trading_day").sort()
    return days[max(len(days) - trading_days, 0)] if len(days) else until
