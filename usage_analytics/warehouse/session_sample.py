"""User sessions of some users of a trading day, whole and in order, for models that need more than counts."""

from datetime import date

import polars as pl

from usage_analytics.warehouse.marts import MartRules
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.refreshing import find_repeated, make_session_events
from usage_analytics.warehouse.user_slices import UserSlice

OF_DAY = "{e}trading_day = :day"
EVENTS = "SELECT COUNT(*) FROM usage_events AS e WHERE e.trading_day = :day"
SAMPLED = """
SELECT user_id, session_number, fold, mini_app, entity, event_time_us FROM session_events ORDER BY user_id, position
"""
PARTS = 2**16


def sampled_users(warehouse: Warehouse, day: date, most_events: int) -> UserSlice:
    """So many users that they have about ``most_events`` events on the day; the more, the same ones and others.

    Told by other digits of the pseudonym than folds and slices are.
    """
    with warehouse.session() as session:
        [(events,)] = session.rows(EVENTS, {"day": day})
    if events <= most_events:
        return UserSlice()
    bound = f"{max(most_events * PARTS // events, 1):04x}"
    return UserSlice(" AND SUBSTRING({e}user_id, 3, 4) < :sampled", {"sampled": bound})


def sampled_sessions(warehouse: Warehouse, day: date, users: UserSlice) -> pl.DataFrame:
    """One row per user session: trading_day, user_id, session_number, fold; in lists mini_apps, times_us, entities."""
    chosen, values = f"{OF_DAY}{users.condition}", {"day": day, **users.values}
    with warehouse.session() as session:
        find_repeated(session, chosen, values)
        make_session_events(session, chosen, values, MartRules(), entity="e.entity")
        events = session.frame(SAMPLED)
    return events.group_by("user_id", "session_number", maintain_order=True).agg(
        pl.lit(day).alias("trading_day"),
        pl.col("fold").first(),
        pl.col("mini_app").alias("mini_apps"),
        pl.col("event_time_us").alias("times_us"),
        pl.col("entity").cast(pl.String).alias("entities"),
    )
