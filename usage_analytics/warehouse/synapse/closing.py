"""Closes trading days: fresh rows join the columnstore in batches, and the day's end lays them out anew.

*Appending* is one transaction: the rows of some loads are inserted into the closed tier, the same are deleted from the
fresh one, and the day is marked. From 6,144,000 rows on they are compressed as they are written. *Rewriting* makes full
row groups of a marked day: a copy of it takes its place by one SWITCH, with the same rows, and the mark goes. Whoever
dies in between leaves all rows to be seen once, and what is not done yet marked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.tables import Table, bigint
from usage_analytics.warehouse.synapse import ddl
from usage_analytics.warehouse.synapse.session import SynapseSession
from usage_analytics.warehouse.synapse.tiers import (
    APPENDED,
    CLOSED,
    CLOSING,
    FRESH,
    NAMES,
    boundaries,
    copy_of_closed_day,
)

# 60 distributions of 102,400 rows: from so many on, they are compressed as they are written.
ROWS_WORTH_APPENDING = 6_144_000
APPENDED_LOADS = Table("appended_loads", (bigint("load_id"),), ("load_id",))
COUNT = "COUNT_BIG(*), SUM(CAST([kafka_offset] AS decimal(38, 0)))"
OF_DAY = "[trading_day] = :day"


@dataclass(frozen=True)
class FreshLoad:
    """The rows that a load has in the fresh tier of one trading day."""

    day: date
    load_id: int
    rows: int


def append_full_batches(session: SynapseSession, rows: int) -> None:
    """Move fresh rows into the closed tier, in batches of at least so many of one trading day; what is left stays."""
    loads = _fresh_loads(session)
    for day in sorted({load.day for load in loads}):
        for batch in _batches([load for load in loads if load.day == day], rows):
            if sum(load.rows for load in batch) >= rows:
                _append(session, day, batch)


def close_day(session: SynapseSession, day: date, rows: int) -> None:
    """Move all fresh rows of a day into the closed tier, so many at a time, and lay the day out anew if any came."""
    for batch in _batches([load for load in _fresh_loads(session) if load.day == day], rows):
        _append(session, day, batch)
    if session.rows_natively(f"SELECT 1 FROM {session.name(APPENDED)} WHERE {OF_DAY}", {"day": day}):
        _rewrite(session, day)


def _fresh_loads(session: SynapseSession) -> list[FreshLoad]:
    """What is fresh, in the order of loading."""
    by_load = "GROUP BY [trading_day], [load_id] ORDER BY [load_id], [trading_day]"
    query = f"SELECT [trading_day], [load_id], COUNT_BIG(*) FROM {session.name(FRESH)} {by_load}"
    return [FreshLoad(*row) for row in session.rows_natively(query)]


def _batches(loads: Sequence[FreshLoad], rows: int) -> Iterator[list[FreshLoad]]:
    """Loads by so many rows, or a load's more; the last has what is left. A large transaction fills a pool's log."""
    batch: list[FreshLoad] = []
    for load in loads:
        batch.append(load)
        if sum(each.rows for each in batch) >= rows:
            yield batch
            batch = []
    if batch:
        yield batch


def _append(session: SynapseSession, day: date, loads: Sequence[FreshLoad]) -> None:
    names = ", ".join(f"[{name}]" for name in NAMES)
    fresh, closed, appended = (session.name(name) for name in (FRESH, CLOSED, APPENDED))
    session.temporary(APPENDED_LOADS)
    session.append(APPENDED_LOADS, pl.DataFrame({"load_id": [load.load_id for load in loads]}))
    # By the numbers of their loads, whose rows came in one transaction each: what is loaded meanwhile is left alone.
    chosen = f"FROM {fresh} WHERE {OF_DAY} AND [load_id] IN (SELECT [load_id] FROM #{APPENDED_LOADS.name})"
    label = ddl.text_literal(f"usage_analytics: append to trading day {day}")
    with session.transaction():
        put = session.change_natively(
            f"INSERT INTO {closed} ({names}) SELECT {names} {chosen} OPTION (LABEL = {label})", {"day": day}
        )
        taken = session.change_natively(f"DELETE {chosen}", {"day": day})
        if put != taken:
            raise UserError(
                f"trading day {day}: of {put} rows that were moved, {taken} were still fresh: another process changes "
                "the pool; see that only one does, and run it again"
            )
        session.run_natively(f"DELETE FROM {appended} WHERE {OF_DAY}", {"day": day})
        session.run_natively(f"INSERT INTO {appended} ([trading_day]) VALUES (:day)", {"day": day})
    # Of a heap, pages without a row are kept, and read by every query.
    number = _partition(session, FRESH, day)
    session.run_natively(f"ALTER TABLE {fresh} REBUILD PARTITION = {number}")


def _rewrite(session: SynapseSession, day: date) -> None:
    closing, closed, appended = (session.name(name) for name in (CLOSING, CLOSED, APPENDED))
    number = _partition(session, CLOSED, day)
    session.run_natively(ddl.drop_table(closing))
    session.run_natively(copy_of_closed_day(session, day))
    [copied] = session.rows_natively(f"SELECT {COUNT} FROM {closing}")
    [there] = session.rows_natively(f"SELECT {COUNT} FROM {closed} WHERE {OF_DAY}", {"day": day})
    if copied != there:
        raise UserError(
            f"trading day {day}: {copied[0]} rows were copied, but {there[0]} are there: another process changes the "
            "pool; see that only one does, and run it again"
        )
    switch = "WITH (TRUNCATE_TARGET = ON)"
    session.run_natively(f"ALTER TABLE {closing} SWITCH PARTITION {number} TO {closed} PARTITION {number} {switch}")
    session.run_natively(f"DELETE FROM {appended} WHERE {OF_DAY}", {"day": day})
    session.run_natively(ddl.drop_table(closing))
    # Of all history only what a day changes for the planner: which days there are, and how many users.
    session.look_at(CLOSED, ("trading_day", "user_id"))


def _partition(session: SynapseSession, tier: str, day: date) -> int:
    return boundaries(session, tier).index(day) + 2  # the first partition is what comes before the first boundary
