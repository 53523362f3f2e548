"""Closing a trading day: its rows move to the columnstore, and none is ever seen twice or missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes import TOPIC

from usage_analytics.errors import UserError
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.conftest import warehouse_on
from usage_analytics_tests.warehouse.synapse.on_the_pool import DAYS, WINDOWS, chunk, in_tier, ledger_agrees, visible

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool


FRESH, BRACKETED = "usage_analytics.usage_events_fresh", "[usage_analytics].[usage_events_fresh]"


def rewritten(pool: Pool) -> int:
    """How often a day has been replaced by a copy of itself."""
    return sum("SWITCH PARTITION" in text for text in pool.texts("ALTER TABLE"))


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


def test_full_batches_are_appended_and_the_day_is_laid_out_once(synapse_pool: Pool) -> None:
    warehouse = warehouse_on(synapse_pool, rows_worth_appending=8)
    for number in range(4):
        some = [chunk(synapse_pool, WINDOWS[0], kafka_partition, 0, 9) for kafka_partition in range(number + 1)]
        warehouse.load_window(TOPIC, WINDOWS[0], some)
        if number == 0:
            assert in_tier(synapse_pool, "closed") == 0
    assert in_tier(synapse_pool, "closed", DAYS[1]) >= 8 and tiers(synapse_pool)[0] > 0
    assert rewritten(synapse_pool) == 0
    before = visible(synapse_pool)
    for _ in range(2):
        warehouse.close_day(DAYS[1])
        assert rewritten(synapse_pool) == 1 and in_tier(synapse_pool, "fresh", DAYS[1]) == 0
        assert f"usage_analytics: append to trading day {DAYS[1]}" in synapse_pool.labels
        assert f"usage_analytics: close trading day {DAYS[1]}" in synapse_pool.labels
    assert visible(synapse_pool) == before and ledger_agrees(synapse_pool)


def test_a_day_of_many_loads_moves_in_transactions_of_bounded_size(synapse_pool: Pool) -> None:
    for start in range(0, 40, 5):
        some = [chunk(synapse_pool, WINDOWS[0], 0, first, 5) for first in range(0, start + 5, 5)]
        warehouse_on(synapse_pool).load_window(TOPIC, WINDOWS[0], some)
    before = visible(synapse_pool)
    warehouse_on(synapse_pool, rows_worth_appending=6).close_day(DAYS[1])
    moved = [text for text in synapse_pool.texts("INSERT INTO") if "[usage_events_closed]" in text.partition("(")[0]]
    assert len(moved) == in_tier(synapse_pool, "closed") // 6 and rewritten(synapse_pool) == 1
    assert visible(synapse_pool) == before and ledger_agrees(synapse_pool)


def test_what_another_machine_loads_meanwhile_is_let_alone(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    from usage_analytics_tests.synapse_pool.faults import calls

    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 5)])
    another = f"INSERT INTO {FRESH} SELECT * REPLACE (1 AS load_id, 99 AS kafka_offset) FROM {FRESH} LIMIT 1"
    synapse_pool.before(f"DELETE FROM {BRACKETED}", calls(lambda _: synapse_pool.connect().execute(another)))
    for day in DAYS:
        on_pool.close_day(day)
    assert sorted(row[1] for row in visible(synapse_pool)) == [0, 1, 2, 3, 4, 99]


def test_a_day_that_another_machine_changes_is_not_replaced(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    from usage_analytics_tests.synapse_pool.faults import calls

    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 5)])
    closed = FRESH.replace("fresh", "closed")
    another = f"INSERT INTO {closed} SELECT * REPLACE (1 AS load_id, 99 AS kafka_offset) FROM {closed} LIMIT 1"
    synapse_pool.before("SELECT COUNT_BIG", calls(lambda _: synapse_pool.connect().execute(another)))
    told = f"trading day {DAYS[1]}: 3 rows were copied, but 4 are there: another process changes the pool; see that"
    with pytest.raises(UserError, match=told):
        on_pool.close_day(DAYS[1])
    assert rewritten(synapse_pool) == 0
    on_pool.close_day(DAYS[1])
    assert rewritten(synapse_pool) == 1 and len(visible(synapse_pool)) == 6


def test_statistics_are_renewed_once_rows_are_safe(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    for start, window in ((0, WINDOWS[0]), (5, WINDOWS[1])):
        on_pool.load_window(TOPIC, window, [chunk(synapse_pool, window, 0, start, 5)])
        on_pool.close_day(DAYS[1])
    closed = BRACKETED.replace("fresh", "closed")
    looked = [text for text in synapse_pool.texts() if "STATISTICS" in text and closed in text]
    made = [f"CREATE STATISTICS [of_{name}] ON {closed} ([{name}])" for name in ("trading_day", "user_id")]
    renewed = [f"UPDATE STATISTICS {closed} ([of_{name}])" for name in ("trading_day", "user_id")]
    assert looked == [*made, *renewed]
    texts = synapse_pool.texts()
    switches = [number for number, text in enumerate(texts) if "SWITCH PARTITION" in text]
    assert switches[0] < texts.index(made[0]) < switches[1] < texts.index(renewed[0])
