"""Closes trading days: moves their fresh rows into the columnstore, once they fill row groups or the day is over.

Each step can be done again, by whoever finds it half done: the closing table is made from what the view shows, one
SWITCH puts it in the place of the day, and only then are the fresh rows, which the view passes over by now, let go.
"""

from dataclasses import dataclass
from datetime import date

from usage_analytics.errors import UserError
from usage_analytics.warehouse.synapse import ddl
from usage_analytics.warehouse.synapse.session import SynapseSession
from usage_analytics.warehouse.synapse.tiers import (
    CLOSED,
    CLOSING,
    FRESH,
    LONG,
    NAMES,
    OUT,
    boundaries,
    create_tier,
    visible_fresh,
)

# 60 distributions of 102,400 rows: from so many on, they are compressed as they are written.
ROWS_WORTH_CLOSING = 6_144_000
COUNT = "COUNT_BIG(*), SUM(CAST([kafka_offset] AS decimal(38, 0)))"
OF_DAY = "[trading_day] = :day"


@dataclass(frozen=True)
class FreshDay:
    """A trading day with rows in the fresh tier, and how many."""

    day: date
    rows: int


def fresh_days(session: SynapseSession) -> list[FreshDay]:
    """The trading days that have rows in the fresh tier, oldest first."""
    query = f"SELECT [trading_day], COUNT_BIG(*) FROM {session.name(FRESH)} GROUP BY [trading_day]"
    return sorted((FreshDay(*row) for row in session.rows_natively(query)), key=lambda fresh: fresh.day)


def close_day(session: SynapseSession, day: date) -> int:
    """Move a day's fresh rows into the closed tier; how many rows it has there now."""
    closing, closed, out = (session.name(name) for name in (CLOSING, CLOSED, OUT))
    edges = boundaries(session, CLOSED)
    number = edges.index(day) + 2  # the first partition is what comes before the first boundary
    session.run_natively(ddl.drop_table(closing))
    session.run_natively(create_tier(session, CLOSED, edges, CLOSING))
    rows = _fill(session, closing, day)
    switch = "WITH (TRUNCATE_TARGET = ON)"
    session.run_natively(f"ALTER TABLE {closing} SWITCH PARTITION {number} TO {closed} PARTITION {number} {switch}")
    session.run_natively(f"UPDATE STATISTICS {closed}")
    fresh_edges = boundaries(session, FRESH)
    number = fresh_edges.index(day) + 2
    session.run_natively(ddl.drop_table(out))
    session.run_natively(create_tier(session, FRESH, fresh_edges, OUT))
    session.run_natively(
        f"ALTER TABLE {session.name(FRESH)} SWITCH PARTITION {number} TO {out} PARTITION {number} {switch}"
    )
    for table in (out, closing):
        session.run_natively(ddl.drop_table(table))
    return rows


def _fill(session: SynapseSession, closing: str, day: date) -> int:
    """Put what is visible of a day, without its long rows, into the closing table, and count it there."""
    names = ", ".join(f"[{name}]" for name in NAMES)
    label = ddl.text_literal(f"usage_analytics: close trading day {day}")
    session.run_natively(
        f"INSERT INTO {closing} ({names}) SELECT {names} FROM {session.name(CLOSED)} WHERE {OF_DAY} UNION ALL "
        f"{visible_fresh(session, NAMES)} AND f.{OF_DAY} OPTION (LABEL = {label})",
        {"day": day},
    )
    [moved] = session.rows_natively(f"SELECT {COUNT} FROM {closing}")
    visible_rows = f"SELECT {COUNT} FROM {session.name('usage_events')} WHERE {OF_DAY}"
    [visible] = session.rows_natively(visible_rows, {"day": day})
    [long] = session.rows_natively(f"SELECT {COUNT} FROM {session.name(LONG)} WHERE {OF_DAY}", {"day": day})
    if (moved[0], moved[1] or 0) != (visible[0] - long[0], (visible[1] or 0) - (long[1] or 0)):
        raise UserError(f"trading day {day}: {moved[0]} rows were gathered, but {visible[0] - long[0]} are there")
    return int(moved[0])
