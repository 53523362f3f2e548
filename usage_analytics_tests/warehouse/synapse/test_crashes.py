"""The connection is lost at each statement of a load and of a close: what is seen is whole, and a repeat heals all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import TOPIC

from usage_analytics.errors import TransientError
from usage_analytics.warehouse.synapse.session import SynapseSession
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.conftest import warehouse_on
from usage_analytics_tests.warehouse.synapse.on_the_pool import (
    DAYS,
    WINDOWS,
    chunk,
    harm_at,
    in_tier,
    ledger_agrees,
    statements_of,
    visible,
)

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.faults import Harm
    from usage_analytics_tests.synapse_pool.pool import Pool

Operation = Callable[[SynapseWarehouse, "Pool"], Any]
NewPool = Callable[[], AbstractContextManager["Pool"]]


def first_load(warehouse: SynapseWarehouse, pool: Pool) -> Any:
    return warehouse.load_window(TOPIC, WINDOWS[0], [chunk(pool, WINDOWS[0], n, 0, 7, mini_app="old") for n in (0, 1)])


def replacing_load(warehouse: SynapseWarehouse, pool: Pool) -> Any:
    kept = chunk(pool, WINDOWS[0], 0, 0, 7, mini_app="old")
    new = chunk(pool, WINDOWS[0], 1, 0, 6, mini_app="new", fingerprint="f2")
    return warehouse.load_window(TOPIC, WINDOWS[0], [kept, new])


def close(warehouse: SynapseWarehouse, pool: Pool) -> Any:
    return warehouse.close_day(DAYS[1])


def load_that_appends(warehouse: SynapseWarehouse, pool: Pool) -> Any:
    return replace(warehouse, rows_worth_appending=1).load_window(TOPIC, WINDOWS[1], [chunk(pool, WINDOWS[1], 0, 7, 5)])


OPERATIONS: dict[str, tuple[list[Operation], Operation]] = {
    "first load": ([], first_load),
    "replacing load": ([first_load, close], replacing_load),
    "close": ([first_load], close),
    "second close": ([first_load, close, load_that_appends], close),
    "close of an appended day": ([first_load, load_that_appends], close),
    "load that appends": ([first_load], load_that_appends),
}


@pytest.fixture
def new_pool(tmp_path: Path) -> NewPool:
    """Pools with nothing in them, one after the other."""
    from usage_analytics_tests.synapse_pool.pool import missing, running_pool

    if reason := missing():
        pytest.skip(reason)

    def new() -> AbstractContextManager[Pool]:
        return running_pool(Path(tempfile.mkdtemp(dir=tmp_path)))

    return new


def statements_in_all(new_pool: NewPool, name: str) -> int:
    earlier, operation = OPERATIONS[name]
    with new_pool() as pool:
        warehouse = warehouse_on(pool)
        for step in earlier:
            step(warehouse, pool)
        return statements_of(pool, lambda: operation(warehouse, pool))


def lose_the_connection(pool: Pool, name: str, number: int, harm: Harm) -> None:
    """At one statement of an operation: then what is seen is as before it or after it, and a repeat does the rest."""
    earlier, operation = OPERATIONS[name]
    warehouse = warehouse_on(pool)
    for step in earlier:
        step(warehouse, pool)
    before = visible(pool)
    harm_at(pool, number, harm)
    with suppress(TransientError):  # not raised where the last statement's answer is lost that nobody waits for
        operation(warehouse, pool)
    between = visible(pool)
    operation(warehouse, pool)
    assert between in (before, visible(pool)), (number, harm)
    assert ledger_agrees(pool), (number, harm)
    if operation is close:
        assert in_tier(pool, "fresh", DAYS[1]) == in_tier(pool, "appended", DAYS[1]) == 0, (number, harm)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_connection_is_lost_at_a_statement(name: str, new_pool: NewPool) -> None:
    from usage_analytics_tests.synapse_pool.faults import DROP_AFTER, DROP_BEFORE

    for number in range(0, statements_in_all(new_pool, name), 13):
        with new_pool() as pool:
            lose_the_connection(pool, name, number, (DROP_BEFORE, DROP_AFTER)[number // 13 % 2])


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_connection_is_lost_at_any_statement(name: str, new_pool: NewPool) -> None:
    from usage_analytics_tests.synapse_pool.faults import DROP_AFTER, DROP_BEFORE

    for number in range(statements_in_all(new_pool, name)):
        for harm in (DROP_BEFORE, DROP_AFTER):
            with new_pool() as pool:
                lose_the_connection(pool, name, number, harm)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_the_connection_is_lost_at_the_commit(lost: str, new_pool: NewPool) -> None:
    from usage_analytics_tests.synapse_pool.faults import DROP_AFTER, DROP_BEFORE

    with new_pool() as pool:
        warehouse = warehouse_on(pool)
        warehouse.read("SELECT COUNT(*) AS n FROM usage_events")  # makes the tables
        pool.before("COMMIT", DROP_BEFORE if lost == "before" else DROP_AFTER)
        told = r"Synapse pool pool on .*: the connection was lost \(.*\); run it again, nothing is half done"
        with pytest.raises(TransientError, match=told):
            first_load(warehouse, pool)
        assert len(visible(pool)) == (0 if lost == "before" else 14) and ledger_agrees(pool)
        assert first_load(warehouse, pool).chunks_loaded == (2 if lost == "before" else 0)
        assert len(visible(pool)) == 14 and ledger_agrees(pool)


class Live:
    """A connection whose rollback fails though it lives; as ODBC has it, turning on autocommit commits what is open."""

    def __init__(self) -> None:
        self.open, self.kept = ["a row"], list[str]()
        self.connection = self.driver_connection = self

    @property
    def autocommit(self) -> bool:
        return False

    @autocommit.setter
    def autocommit(self, on: bool) -> None:
        if on:
            self.kept += self.open

    def rollback(self) -> None:
        import pyodbc

        raise pyodbc.Error("HY000", "whatever the driver says")

    def invalidate(self) -> None:
        self.open = []


def test_a_rollback_that_fails_keeps_nothing_of_its_transaction() -> None:
    pytest.importorskip("pyodbc", reason="needs pyodbc, and unixODBC for it", exc_type=ImportError)
    live = Live()
    with pytest.raises(KeyError), SynapseSession(live, "s").transaction():  # type: ignore[arg-type]
        raise KeyError("whatever went wrong")
    assert (live.open, live.kept) == ([], [])
