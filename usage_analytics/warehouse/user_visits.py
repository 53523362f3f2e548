"""How often each user opened each mini-app over some trading days, a slice of the users at a time."""

from collections.abc import Iterator
from datetime import date

import polars as pl

from usage_analytics.warehouse.last_days import first_of_last
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.user_slices import UserSlice, slices_of_users

ROWS = "SELECT COUNT(*) FROM user_profiles WHERE trading_day >= :first AND trading_day <= :until"
VISITS = """
SELECT e.user_id, e.mini_app, CAST(SUM(e.visits) AS BIGINT) AS visits FROM user_profiles AS e
WHERE e.trading_day >= :first AND e.trading_day <= :until{users} GROUP BY e.user_id, e.mini_app
"""
ROWS_AT_ONCE = 500_000


def visits_of(warehouse: Warehouse, until: date, trading_days: int, users: UserSlice) -> pl.DataFrame:
    """user_id, mini_app, visits of some users over the last so many trading days up to one; there may be none."""
    first = first_of_last(warehouse, until, trading_days)
    values = {"first": first, "until": until, **users.values}
    return warehouse.read(VISITS.format(users=users.condition.format(e="e.")), values)


def visits_by_slice(warehouse: Warehouse, until: date, trading_days: int) -> Iterator[pl.DataFrame]:
    """The same of all users, some at a time: a user is in one piece."""
    for users in slices_of_users(1 + profile_rows(warehouse, until, trading_days) // ROWS_AT_ONCE):
        yield visits_of(warehouse, until, trading_days, users)


def profile_rows(warehouse: Warehouse, until: date, trading_days: int) -> int:
    """How many rows `user_profiles` has over these days: one for each user, day and mini-app."""
    first = first_of_last(warehouse, until, trading_days)
    [rows] = warehouse.read(ROWS, {"first": first, "until": until}).row(0)
    return int(rows)
