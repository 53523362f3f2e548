"""The connection is lost in a refresh or a plan: marts are as before it or as after it, and a repeat heals all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from closing import refresh, replace_plan, stale_days
from fakes import TOPIC

from usage_analytics.errors import TransientError
from usage_analytics.serving.plan.rows import PLAN_SCHEMA
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.conftest import warehouse_on
from usage_analytics_tests.warehouse.synapse.on_the_pool import DAYS, WINDOWS, chunk, harm_at, statements_of

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.faults import Harm
    from usage_analytics_tests.synapse_pool.pool import Pool

Operation = Callable[[SynapseWarehouse], Any]
SOME = ("user_sessions", "app_transitions", "friction")
ROWS = "SELECT * FROM usage_analytics.{} ORDER BY ALL"
LEDGER = "SELECT * EXCLUDE (refreshed_us) FROM usage_analytics.mart_ledger WHERE mart = ? ORDER BY ALL"


def refreshed(warehouse: SynapseWarehouse) -> object:
    return refresh(warehouse, DAYS[1], *SOME)


def planned(warehouse: SynapseWarehouse) -> object:
    row = {"context": "", "context_order": 0, "rank": 1, "mini_app": "news", "probability": 0.5, "transitions": 2}
    return replace_plan(warehouse, DAYS[1], pl.DataFrame([row], PLAN_SCHEMA))


def with_marts(warehouse: SynapseWarehouse, pool: Pool) -> None:
    """Marts and a plan of a day that has changed since."""
    some = [chunk(pool, WINDOWS[0], n, 0, 7, user_id=f"{n:032x}") for n in (0, 1)]
    warehouse.load_window(TOPIC, WINDOWS[0], some[:1])
    refreshed(warehouse)
    replace_plan(warehouse, DAYS[1])
    warehouse.load_window(TOPIC, WINDOWS[0], some)


def seen(pool: Pool) -> list[list[tuple[Any, ...]]]:
    """Of each mart and the plan: its rows, and what the ledger says of it. Each is replaced in one transaction."""
    return [
        [*pool.connect().execute(ROWS.format(name)).fetchall(), *pool.connect().execute(LEDGER, [name]).fetchall()]
        for name in (*SOME, "preload_plan")
    ]


def new_pool(folder: Path) -> Any:
    from usage_analytics_tests.synapse_pool.pool import missing, running_pool

    if reason := missing():
        pytest.skip(reason)
    return running_pool(Path(tempfile.mkdtemp(dir=folder)))


def lose_the_connection(pool: Pool, operation: Operation, number: int, harm: Harm) -> None:
    warehouse = warehouse_on(pool)
    with_marts(warehouse, pool)
    before = seen(pool)
    harm_at(pool, number, harm)
    with suppress(TransientError):
        operation(warehouse)
    between = seen(pool)
    operation(warehouse)
    after = seen(pool)
    assert before != after
    for old, now, new in zip(before, between, after, strict=True):
        assert now in (old, new), (number, harm)
    if operation is refreshed:
        assert DAYS[1] in stale_days(warehouse)  # the other marts and the plan are still to be made


@pytest.mark.parametrize(("operation", "each"), [(refreshed, 21), (planned, 5)])
def test_the_connection_is_lost_at_a_statement(tmp_path: Path, operation: Operation, each: int) -> None:
    from usage_analytics_tests.synapse_pool.faults import DROP_AFTER, DROP_BEFORE

    for turn, number in enumerate(range(0, statements_in_all(tmp_path, operation), each)):
        with new_pool(tmp_path) as pool:
            lose_the_connection(pool, operation, number, (DROP_BEFORE, DROP_AFTER)[turn % 2])


@pytest.mark.slow
@pytest.mark.parametrize("operation", [refreshed, planned])
def test_the_connection_is_lost_at_any_statement(tmp_path: Path, operation: Operation) -> None:
    from usage_analytics_tests.synapse_pool.faults import DROP_AFTER, DROP_BEFORE

    for number in range(statements_in_all(tmp_path, operation)):
        for harm in (DROP_BEFORE, DROP_AFTER):
            with new_pool(tmp_path) as pool:
                lose_the_connection(pool, operation, number, harm)


def statements_in_all(folder: Path, operation: Operation) -> int:
    with new_pool(folder) as pool:
        warehouse = warehouse_on(pool)
        with_marts(warehouse, pool)
        return statements_of(pool, lambda: operation(warehouse))
