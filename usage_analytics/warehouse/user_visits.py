"""How often each user opened each mini-app over some trading days, a slice of the users at a time."""

from collections.abc import Iterator
from datetime import date

import polars as pl

from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.user_slices import UserSlice, slices_of_users

DAYS = "SELECT DISTINCT trading_day FROM usage_series WHERE trading_day <= :until"
ROWS = "SELECT COUNT(*) FROM user_profiles WHERE trading_day >= :first AND trading_day <= :until"
VISITS = """
SELECT e.user_id, e.mini_app, CAST(SUM(e.visits) AS BIGINT) AS visits FROM user_profiles AS e
WHERE e.trading_day >= :first AND e.trading_day <= :until{users} GROUP BY e.user_id, e.mini_app
"""
ROWS_AT_ONCE = 4_000_000


def visits_of(warehouse: Warehouse, until: date, trading_days: int, users: UserSlice) -> pl.DataFrame:
    """user_id, mini_app, visits of some users over the last so many trading days up to one; there may be none."""
    first = _first_day(warehouse, until, trading_days)
    values = {"first": first or until, "until": until, **users.values}
    return warehouse.read(VISITS.format(users=users.condition.format(e="e.")), values)


def visits_by_slice(warehouse: Warehouse, until: date, trading_days: int) -> Iterator[pl.DataFrame]:
    """The same of all users, some at a time: a user is in one piece."""
    first = _first_day(warehouse, until, trading_days)
    if first is None:
        return
    [rows] = warehouse.read(ROWS, {"first": first, "until": until}).row(0)
    for users in slices_of_users(1 + rows // ROWS_AT_ONCE):
        yield visits_of(warehouse, until, trading_days, users)


def _first_day(warehouse: Warehouse, until: date, trading_days: int) -> date | None:
    days = warehouse.read(DAYS, {"until": until}).get_column("trading_day").sort()
    return days[max(len(days) - trading_days, 0)] if len(days) else None
