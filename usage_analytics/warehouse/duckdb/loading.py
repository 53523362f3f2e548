"""Makes one window's rows in DuckDB equal to its chunks, in one transaction with the load ledger."""

from collections.abc import Iterable

import duckdb
from sqlalchemy.exc import DBAPIError

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles, folder_of
from usage_analytics.warehouse.duckdb.session import DuckDBSession
from usage_analytics.warehouse.duckdb.tiers import TIERS, FreshChunk, add, fresh_chunks, give_up, show
from usage_analytics.warehouse.load_applying import LoadPlace, apply_plan
from usage_analytics.warehouse.load_planning import LoadPlan, plan_load
from usage_analytics.warehouse.protocol import LoadReceipt


def load(session: DuckDBSession, fresh: FreshFiles, place: LoadPlace, chunks: Iterable[EnrichedChunk]) -> LoadReceipt:
    """Replace what differs between the ledger and a share of the window's chunks."""
    given = list(chunks)  # gone through again where a file is given up
    try:
        receipt = _load(session, fresh, place, given)
    except (DBAPIError, duckdb.Error):
        # Whichever window's it is, a file that cannot be read would stop all loads.
        lost = [chunk for chunk in fresh_chunks(session) if fresh.damage(chunk.file)]
        if not lost:
            raise
        with session.transaction():
            give_up(session, fresh, lost)
        receipt = _load(session, fresh, place, given)
    fresh.sweep((chunk.file for chunk in fresh_chunks(session)), folder_of(place.window))
    return receipt


def _load(session: DuckDBSession, fresh: FreshFiles, place: LoadPlace, chunks: list[EnrichedChunk]) -> LoadReceipt:
    with session.transaction():
        plan = plan_load(session, place.rebuild, place.topic, place.window, chunks, place.share)
        return apply_plan(session, place, plan, lambda: _put(session, fresh, place.window, plan), *TIERS)


def _put(session: DuckDBSession, fresh: FreshFiles, window: str, plan: LoadPlan) -> None:
    for new in plan.new:
        if new.chunk.rows:
            row = new.row
            file = fresh.put(window, new.chunk)
            add(session, FreshChunk(window, row.start_offset, row.topic, row.kafka_partition, new.days, file))
    if plan.new or plan.stale:
        show(session, fresh)
