"""The tables and views of a pool: made once, and brought from an earlier version to this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from closing import close_stale_days
from fakes import TOPIC

from usage_analytics.errors import UserError
from usage_analytics.tables import FRICTION, LOAD_LEDGER, MART_LEDGER, MARTS, PRELOAD_PLAN
from usage_analytics.warehouse.synapse import ddl, tiers
from usage_analytics.warehouse.synapse.session import SynapseSession
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.on_the_pool import DAYS, WINDOWS, chunk, ledger_agrees, visible

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.catalog import Column
    from usage_analytics_tests.synapse_pool.pool import Pool

# What a close of the first version has left that died after its SWITCH: fresh rows that the view of then passed over.
LEFT = """
INSERT INTO usage_analytics.usage_events_fresh
SELECT * FROM usage_analytics.usage_events_closed WHERE trading_day = DATE '{day}'
"""
BEFORE = "UPDATE usage_analytics.warehouse_schema SET migration = 1, views = 'of before'"


def leave_out(session: SynapseSession, table: str, names: Sequence[str], left_out: Sequence[str], layout: str) -> None:
    """Make a table one that has some columns less."""
    kept = ", ".join(f"[{name}]" for name in names if name not in left_out)
    place = session.name(table)
    for statement in (
        f"CREATE TABLE {session.name('kept')} WITH ({layout}) AS SELECT {kept} FROM {place}",
        f"DROP TABLE {place}",
        f"RENAME OBJECT {session.name('kept')} TO [{table}]",
    ):
        session.run_natively(statement)


def without_payloads(session: SynapseSession) -> None:
    """Make the tables those of before there were payloads."""
    for tier in (tiers.FRESH, tiers.CLOSED, tiers.LONG):
        cut = "" if tier == tiers.LONG else f", {ddl.partitions(tiers.boundaries(session, tier))}"
        layout = tiers.SPREAD.get(tier, tiers.SPREAD[tiers.FRESH]) + cut
        leave_out(session, tier, tiers.NAMES, ("entity", "payload_bytes"), layout)
    leave_out(session, FRICTION.name, FRICTION.column_names(), ("sized", "payload_bytes"), ddl.layout_of(FRICTION))
    view = tiers.view_of_tiers(session).replace(", [entity], [payload_bytes]", "")
    session.run_natively(f"ALTER VIEW {session.name('usage_events')} AS {view}")


def columns_of(pool: Pool) -> dict[str, list[Column]]:
    """What each table has, as it was declared but for defaults, which nothing makes use of."""
    return {
        name: [replace(column, default="") for column in layout.columns]
        for (_, name), layout in pool.catalog.layouts.items()
    }


def test_a_pool_of_before_payloads_keeps_its_rows_and_takes_new_ones(
    on_pool: SynapseWarehouse, synapse_pool: Pool
) -> None:
    opened = {"action": "open", "entity": "IBM", "payload_bytes": 300.0}
    old, late = (chunk(synapse_pool, WINDOWS[0], number, 0, 6, **opened) for number in (0, 1))
    on_pool.load_window(TOPIC, WINDOWS[0], [old])
    close_stale_days(on_pool)
    on_pool.close_day(DAYS[1])  # so that its rows lie in three tables
    rows, declared = visible(synapse_pool), columns_of(synapse_pool)
    with on_pool.writing() as session:
        without_payloads(session)
    synapse_pool.connect().execute(BEFORE.replace("migration = 1", "migration = 2"))

    assert on_pool.read("SELECT COUNT(entity) AS n, COUNT(payload_bytes) AS m FROM usage_events").rows() == [(0, 0)]
    assert visible(synapse_pool) == rows and columns_of(synapse_pool) == declared
    friction = "SELECT trading_day, sized, payload_bytes FROM friction ORDER BY trading_day"
    assert on_pool.read(friction).rows() == [(DAYS[0], 0, 0), (DAYS[1], 0, 0)]
    assert on_pool.load_window(TOPIC, WINDOWS[0], [old, late]).chunks_kept == 1
    for day in close_stale_days(on_pool):
        on_pool.close_day(day)
    assert on_pool.read(friction).rows() == [(DAYS[0], 2, 600), (DAYS[1], 4, 1_200)]
    assert on_pool.read("SELECT COUNT(*) AS n FROM usage_events WHERE entity = 'IBM'").item() == 6
    assert ledger_agrees(synapse_pool)


def test_a_pool_of_before_becomes_one_of_now(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    chunks = [chunk(synapse_pool, WINDOWS[0], 0, 0, 9)]
    on_pool.load_window(TOPIC, WINDOWS[0], chunks)
    on_pool.close_day(DAYS[1])
    rows = visible(synapse_pool)
    with on_pool.writing() as session:
        session.run_natively("DROP TABLE [usage_analytics].[usage_events_appended]")
        names, layout = LOAD_LEDGER.column_names(), ddl.layout_of(LOAD_LEDGER)
        leave_out(session, LOAD_LEDGER.name, names, ("first_day", "last_day"), layout)
        without_payloads(session)
    outside = synapse_pool.connect()
    outside.execute(LEFT.format(day=DAYS[1]))
    outside.execute(BEFORE)
    assert len(visible(synapse_pool)) > len(rows)
    assert on_pool.load_window(TOPIC, WINDOWS[0], chunks).chunks_kept == 1
    assert visible(synapse_pool) == rows and ledger_agrees(synapse_pool)
    for day in DAYS:
        on_pool.close_day(day)
    assert visible(synapse_pool) == rows and ledger_agrees(synapse_pool)
    # The days of what was loaded before are not known: then all days are looked through.
    assert on_pool.read("SELECT COUNT(first_day) AS n FROM load_ledger").item() == 0
    assert on_pool.load_window(TOPIC, WINDOWS[0], []).trading_days == tuple(DAYS)
    assert visible(synapse_pool) == []


def test_marts_lie_by_day_and_no_skewed_column_spreads_them(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.read("SELECT COUNT(*) AS n FROM usage_events")
    for table in (*MARTS, PRELOAD_PLAN):
        layout = synapse_pool.catalog.layouts["usage_analytics", table.name]
        of_users = any(column.name == "user_id" for column in table.columns)
        assert layout.distribution == ("HASH(user_id)" if of_users else "ROUND_ROBIN"), table.name
        assert layout.index == "CLUSTERED INDEX ( [trading_day] )", table.name
    for table in (LOAD_LEDGER, MART_LEDGER):
        layout = synapse_pool.catalog.layouts["usage_analytics", table.name]
        assert (layout.distribution, layout.index) == ("ROUND_ROBIN", "HEAP")


def test_a_view_that_changes_is_never_away(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 3)])
    synapse_pool.connect().execute(BEFORE.replace("migration = 1, ", ""))
    made = len(synapse_pool.texts("CREATE VIEW"))
    assert on_pool.read("SELECT COUNT(*) AS n FROM usage_events").item() == 3
    assert synapse_pool.texts("DROP VIEW") == [] and len(synapse_pool.texts("CREATE VIEW")) == made
    assert len(synapse_pool.texts("ALTER VIEW")) == made


def test_a_pool_of_a_newer_version_is_left_alone(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.read("SELECT COUNT(*) AS n FROM usage_events")
    synapse_pool.connect().execute(BEFORE.replace("migration = 1", "migration = 999"))
    told = r"^schema usage_analytics in the pool is of a newer version of the platform \(its migration 999, ours 3\)"
    with pytest.raises(UserError, match=told):
        on_pool.read("SELECT COUNT(*) AS n FROM usage_events")
