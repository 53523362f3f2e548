"""Carries out what a load plan says, within the transaction that is open: the same for every column store."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.tables import Table
from usage_analytics.warehouse.ledger import NOTHING, altered, forget, held, next_version, record
from usage_analytics.warehouse.load_planning import LoadPlan
from usage_analytics.warehouse.protocol import LoadReceipt
from usage_analytics.warehouse.session import Session


@dataclass(frozen=True)
class LoadPlace:
    """What is loaded: a share of a window of a topic; ``rebuild``: how the warehouse is made again, in words."""

    topic: str
    window: str
    share: Share
    rebuild: str


def apply_plan(
    session: Session, place: LoadPlace, plan: LoadPlan, insert_rows: Callable[[], None], *tiers: Table
) -> LoadReceipt:
    """Take out what is stale, put in what is new, write the ledger and the days' versions, and count again.

    ``tiers``: the tables that hold usage events. `UserError` if the counts are not the chunks':
    then the transaction must be given up.
    """
    days: set[date] = set()
    for chunk in plan.stale:
        days |= forget(session, chunk, *tiers)
    insert_rows()
    loaded_us = int(datetime.now(UTC).timestamp() * 1e6)  # as late as can be: from the commit on they can be queried
    for each in plan.new:
        record(session, replace(each.row, loaded_us=each.row.loaded_us or loaded_us))
        days |= each.days
    for day in days:
        next_version(session, day)
    return LoadReceipt(_verified(session, place, plan), len(plan.new), plan.kept, tuple(sorted(days)))


def _verified(session: Session, place: LoadPlace, plan: LoadPlan) -> int:
    """The rows of the window, if those of the share are the chunks', and each new chunk is there whole."""
    there = held(session, place.topic, EVERYTHING, place.window)
    mine = sum(rows.rows for (partition, _), rows in there.items() if place.share.takes(partition))
    torn = [e.row for e in plan.new if altered(e.row, there.get((e.row.kafka_partition, e.row.start_offset), NOTHING))]
    if mine != plan.expected_rows or torn:
        found, expected = f"the warehouse holds {mine} rows after loading", f"its chunks {plan.expected_rows}"
        why = f"{found}, {expected}: rows were changed by other means"
        raise UserError(f"topic {place.topic!r}, window {place.window}: {why}; {place.rebuild}")
    return sum(rows.rows for rows in there.values())
