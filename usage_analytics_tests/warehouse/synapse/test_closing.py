"""Closing a trading day: its rows move to the columnstore, and none is ever seen twice or missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes import TOPIC

from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.conftest import warehouse_on
from usage_analytics_tests.warehouse.synapse.on_the_pool import DAYS, WINDOWS, chunk, in_tier, ledger_agrees, visible

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool


def tiers(pool: Pool) -> tuple[int, int, int]:
    return in_tier(pool, "fresh"), in_tier(pool, "closed"), in_tier(pool, "long")


def test_a_day_moves_but_its_long_rows(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    from usage_analytics_tests.synapse_pool.faults import calls

    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 15)])
    before, seen = visible(synapse_pool), []
    assert tiers(synapse_pool) == (12, 0, 3)
    synapse_pool.before(lambda statement: True, calls(lambda _: seen.append(visible(synapse_pool))), times=1_000)
    on_pool.close_day(DAYS[1])
    assert tiers(synapse_pool) == (12 - in_tier(synapse_pool, "closed"), in_tier(synapse_pool, "closed"), 3)
    assert in_tier(synapse_pool, "fresh", DAYS[1]) == 0 and in_tier(synapse_pool, "closed", DAYS[0]) == 0
    assert len(seen) > 10 and all(rows == before for rows in [*seen, visible(synapse_pool)])
    assert ledger_agrees(synapse_pool)


def test_late_rows_join_a_closed_day(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 9)])
    for day in DAYS:
        on_pool.close_day(day)
    on_pool.load_window(TOPIC, WINDOWS[1], [chunk(synapse_pool, WINDOWS[1], 0, 9, 9)])
    assert len(visible(synapse_pool)) == 18 and tiers(synapse_pool)[0] > 0
    for day in DAYS:
        on_pool.close_day(day)
        on_pool.close_day(day)  # nothing is left to do
    assert len(visible(synapse_pool)) == 18 and tiers(synapse_pool)[0] == 0
    assert ledger_agrees(synapse_pool)


def test_a_day_is_closed_when_its_rows_fill_row_groups(synapse_pool: Pool) -> None:
    warehouse = warehouse_on(synapse_pool, rows_worth_closing=8)
    warehouse.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 9)])
    assert in_tier(synapse_pool, "closed") == 0
    warehouse.load_window(TOPIC, WINDOWS[1], [chunk(synapse_pool, WINDOWS[1], 0, 9, 9)])
    assert in_tier(synapse_pool, "closed", DAYS[1]) >= 8 and in_tier(synapse_pool, "closed", DAYS[0]) == 0
    assert len(visible(synapse_pool)) == 18
