"""The tables and views of a pool: made once, and brought from an earlier version to this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes import TOPIC

from usage_analytics.errors import UserError
from usage_analytics.tables import LOAD_LEDGER, MART_LEDGER, MARTS, PRELOAD_PLAN
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.on_the_pool import DAYS, WINDOWS, chunk, ledger_agrees, visible

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool

# What a close of the first version has left that died after its SWITCH: fresh rows that the view of then passed over.
LEFT = """
INSERT INTO usage_analytics.usage_events_fresh
SELECT * FROM usage_analytics.usage_events_closed WHERE trading_day = DATE '{day}'
"""
BEFORE = "UPDATE usage_analytics.warehouse_schema SET migration = 1, views = 'of before'"


def test_a_pool_of_before_becomes_one_of_now(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    chunks = [chunk(synapse_pool, WINDOWS[0], 0, 0, 9)]
    on_pool.load_window(TOPIC, WINDOWS[0], chunks)
    on_pool.close_day(DAYS[1])
    rows = visible(synapse_pool)
    with on_pool.writing() as session:
        names = ", ".join(f"[{name}]" for name in LOAD_LEDGER.column_names() if not name.endswith("_day"))
        layout = "WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
        for statement in (
            "DROP TABLE [usage_analytics].[usage_events_appended]",
            f"CREATE TABLE [usage_analytics].[kept] {layout} AS SELECT {names} FROM [usage_analytics].[load_ledger]",
            "DROP TABLE [usage_analytics].[load_ledger]",
            "RENAME OBJECT [usage_analytics].[kept] TO [load_ledger]",
        ):
            session.run_natively(statement)
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
    told = r"^schema usage_analytics in the pool is of a newer version of the platform \(its migration 999, ours 2\)"
    with pytest.raises(UserError, match=told):
        on_pool.read("SELECT COUNT(*) AS n FROM usage_events")
