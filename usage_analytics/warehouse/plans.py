"""The preload plan in the warehouse."""

from datetime import date

import polars as pl

from usage_analytics.tables import PRELOAD_PLAN
from usage_analytics.warehouse.refreshing import remember
from usage_analytics.warehouse.session import Session

NAMES = PRELOAD_PLAN.column_names()[1:]
FAULTY_CONTEXTS = """
SELECT context FROM preload_plan WHERE trading_day = :day GROUP BY context
HAVING SUM(CAST(probability AS DOUBLE)) > 1 + 1e-6
    OR MAX(
        CASE WHEN RIGHT(CONCAT(' > ', context), LENGTH(mini_app) + 3) = CONCAT(' > ', mini_app) THEN 1 ELSE 0 END
    ) = 1
"""


def replace_plan(session: Session, trading_day: date, plan: pl.DataFrame, version: int, rule: str | None) -> None:
    """Replace a trading day's plan. It is as new as the counts of the day that its model knew, and of their rule."""
    rows = plan.select(pl.lit(trading_day).alias("trading_day"), *NAMES)
    with session.transaction():
        session.run("DELETE FROM preload_plan WHERE trading_day = :day", {"day": trading_day})
        session.append(PRELOAD_PLAN, rows)
        remember(session, PRELOAD_PLAN.name, trading_day, version, plan.height, rule)


def newest_plan(session: Session) -> tuple[date, pl.DataFrame] | None:
    """The latest plan and its trading day; None before there is one."""
    [(day,)] = session.rows("SELECT MAX(trading_day) FROM preload_plan")
    if day is None:
        return None
    return day, session.frame(f"SELECT {', '.join(NAMES)} FROM preload_plan WHERE trading_day = :day", {"day": day})


def faulty_contexts(session: Session, trading_day: date) -> list[str]:
    """Contexts of a plan whose probabilities exceed one together, or that propose what is already open."""
    return [context for (context,) in session.rows(FAULTY_CONTEXTS, {"day": trading_day})]
