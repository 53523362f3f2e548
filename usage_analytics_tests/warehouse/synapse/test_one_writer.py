"""One process changes the pool at a time, however it was started; who only reads need not wait."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from closing import refresh, replace_plan
from fakes import TOPIC

from usage_analytics.locks import one_within
from usage_analytics.warehouse.protocol import WarehouseInUse
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.conftest import warehouse_on
from usage_analytics_tests.warehouse.synapse.on_the_pool import DAYS, WINDOWS, chunk, ledger_agrees, visible

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool

HOLDER = """
import sys, time
from pathlib import Path
from usage_analytics.locks import one_within
with one_within(Path(sys.argv[1]), 0):
    print("held", flush=True)
    time.sleep(600)
"""


def changes(pool: Pool) -> dict[str, Callable[[SynapseWarehouse], object]]:
    some = [chunk(pool, WINDOWS[0], 0, 0, 5)]
    return {
        "load": lambda warehouse: warehouse.load_window(TOPIC, WINDOWS[0], some),
        "close": lambda warehouse: warehouse.close_day(DAYS[0]),
        "marts": lambda warehouse: refresh(warehouse, DAYS[0], "friction"),
        "plan": lambda warehouse: replace_plan(warehouse, DAYS[0]),
    }


def test_who_would_change_anything_waits_for_another_process(synapse_pool: Pool) -> None:
    warehouse = warehouse_on(synapse_pool, wait_s=0.2)
    assert warehouse.read("SELECT COUNT(*) AS n FROM usage_events").item() == 0
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, warehouse.lock], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        told = rf"^Synapse pool pool on .* has been in use for 0\.2 s: process {holder.pid} changes it, as .* says$"
        for name, change in changes(synapse_pool).items():
            with pytest.raises(WarehouseInUse, match=told):
                change(warehouse)
            assert visible(synapse_pool) == [], name
        assert warehouse.read("SELECT COUNT(*) AS n FROM usage_events").item() == 0
    finally:
        holder.kill()  # as a crash would end it: nobody has to clear anything away
        holder.communicate()
    for change in changes(synapse_pool).values():
        change(warehouse)
    assert len(visible(synapse_pool)) == 5


def test_two_loaders_of_one_window_go_one_after_the_other(synapse_pool: Pool) -> None:
    some = [chunk(synapse_pool, WINDOWS[0], number, 0, 6) for number in (0, 1)]
    told: list[object] = []

    def load() -> None:
        told.append(warehouse_on(synapse_pool, wait_s=300).load_window(TOPIC, WINDOWS[0], some).chunks_loaded)

    loaders = [threading.Thread(target=load) for _ in range(2)]
    for loader in loaders:
        loader.start()
    for loader in loaders:
        loader.join()
    assert sorted(map(str, told)) == ["0", "2"]
    assert len(visible(synapse_pool)) == 12 and ledger_agrees(synapse_pool)
    assert len(synapse_pool.texts("CREATE TABLE [usage_analytics].[usage_events_staging]")) == 1


def test_the_lock_is_had_as_soon_as_it_is_free(tmp_path: Path) -> None:
    path, order = tmp_path / "a" / "lock", ["first"]

    def second() -> None:
        with one_within(path, 60):
            order.append("second")

    with ExitStack() as held:
        held.enter_context(one_within(path, 0))
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.3)
        assert order == ["first"]
    waiting.join()
    assert order == ["first", "second"]
