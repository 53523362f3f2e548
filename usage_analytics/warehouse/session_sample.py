"""User sessions of some users of a trading day, whole and in order, for models that need more than counts."""

from datetime import date

import polars as pl

from usage_analytics.tables import REPEATED_EVENTS
from usage_analytics.warehouse.marts import MartRules
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.refreshing import find_repeated, make_session_events
from usage_analytics.warehouse.user_slices import UserSlice

OF_DAY = "{e}trading_day = :day"
EVENTS = "SELECT COUNT(*) FROM usage_events AS e WHERE e.trading_day = :day"
SAMPLED = """
SELECT user_id, session_number, fold, mini_app, entity, phase, event_time_us FROM session_events WHERE position <= :most
ORDER BY user_id, position
"""
PHASE = "e.phase"
ENTITY = "NULLIF(e.entity, '')"  # some applications send an empty text for nothing
PARTS = 2**16
MOST_PER_USER = 2_000  # events of a day: what a script does all day is not what models are to learn most of


def sampled_users(warehouse: Warehouse, day: date, most_events: int) -> UserSlice:
    """So many users that they have about ``most_events`` events on the day; the more, the same ones and others.

    Told by other digits of the pseudonym than folds and slices are.
    """
    with warehouse.session() as session:
        [(events,)] = session.rows(EVENTS, {"day": day})
    return share_of_users(UserSlice(), most_events, events)


def share_of_users(users: UserSlice, wanted: int, all_: int) -> UserSlice:
    """Of a sample of users, or all, so many that they are no more than ``wanted`` of ``all_`` users."""
    if all_ <= wanted:
        return users
    bound = f"{max(wanted * PARTS // all_, 1):04x}"
    if str(users.values.get("sampled", bound)) < bound:
        return users
    return UserSlice(" AND SUBSTRING({e}user_id, 3, 4) < :sampled", {"sampled": bound})


def sampled_sessions(warehouse: Warehouse, day: date, users: UserSlice) -> pl.DataFrame:
    """One row per user session: trading_day, user_id, session_number, fold; in lists what each event was.

    The lists are mini_apps, times_us, entities and phases. Of each user, the first MOST_PER_USER events of the day.
    """
    chosen, values = f"{OF_DAY}{users.condition}", {"day": day, **users.values}
    with warehouse.session() as session:
        find_repeated(session, chosen, values)
        session.update_statistics(REPEATED_EVENTS)
        make_session_events(session, chosen, values, MartRules(), entity=ENTITY, phase=PHASE)
        events = session.frame(SAMPLED, {"most": MOST_PER_USER})
    return events.group_by("user_id", "session_number", maintain_order=True).agg(
        pl.lit(day).alias("trading_day"),
        pl.col("fold").first(),
        pl.col("mini_app").alias("mini_apps"),
        pl.col("event_time_us").alias("times_us"),
        pl.col("entity").cast(pl.String).alias("entities"),
        pl.col("phase").cast(pl.String).alias("phases"),
    )
