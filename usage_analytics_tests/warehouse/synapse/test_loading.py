"""Loading into a pool, end to end: pyodbc, Microsoft's driver, TLS, a server that refuses what Synapse refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
import pytest
from closing import close_stale_days
from fakes import TOPIC, enriched_chunk

from usage_analytics.errors import TransientError, UserError
from usage_analytics.ingestion.shares import all_shares
from usage_analytics.tables import MARTS
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics.warehouse.freshness import freshness
from usage_analytics.warehouse.marts import VIEWS, MartRules
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics.warehouse.transitions import recent_mini_apps, transition_counts, transition_counts_by
from usage_analytics_tests.warehouse.synapse.on_the_pool import (
    DAYS,
    WINDOWS,
    chunk,
    in_tier,
    ledger_agrees,
    visible,
)

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool


ROOT = Path(__file__).parents[3]
ACCEPTANCE_QUERY = re.compile(r'usage-analytics query "([^"]*)"')


def test_loading_again_changes_nothing_and_sends_no_file(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    chunks = [chunk(synapse_pool, WINDOWS[0], number, 0, 7) for number in (0, 1)]
    first = on_pool.load_window(TOPIC, WINDOWS[0], chunks)
    assert (first.rows, first.chunks_loaded, first.chunks_kept, first.trading_days) == (14, 2, 0, tuple(DAYS))
    rows, copies = visible(synapse_pool), len(synapse_pool.texts("COPY"))
    assert len(rows) == 14 and copies == 1
    again = on_pool.load_window(TOPIC, WINDOWS[0], chunks)
    assert (again.rows, again.chunks_loaded, again.chunks_kept, again.trading_days) == (14, 0, 2, ())
    assert visible(synapse_pool) == rows and len(synapse_pool.texts("COPY")) == copies
    assert ledger_agrees(synapse_pool)
    assert (in_tier(synapse_pool, "fresh"), in_tier(synapse_pool, "long"), in_tier(synapse_pool, "closed")) == (
        12,
        2,
        0,
    )


def test_loads_are_labelled(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 3)])
    assert f"usage_analytics: load window {WINDOWS[0]}" in synapse_pool.labels
    assert f"usage_analytics: move window {WINDOWS[0]}" in synapse_pool.labels


def test_a_chunk_judged_anew_is_replaced_in_all_tiers(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    kept, old = (chunk(synapse_pool, WINDOWS[0], 0, start, 6, mini_app="old") for start in (0, 6))
    on_pool.load_window(TOPIC, WINDOWS[0], [kept, old])
    on_pool.close_day(DAYS[0])  # so that its rows lie in three tables
    new = chunk(synapse_pool, WINDOWS[0], 0, 6, 5, mini_app="new", fingerprint="f2")
    receipt = on_pool.load_window(TOPIC, WINDOWS[0], [kept, new])
    assert (receipt.rows, receipt.chunks_loaded, receipt.chunks_kept) == (11, 1, 1)
    assert [row[2] for row in visible(synapse_pool)] == ["old"] * 6 + ["new"] * 5
    assert ledger_agrees(synapse_pool)


def test_only_the_days_of_a_window_are_looked_through(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 6)])
    for day in DAYS:
        on_pool.close_day(day)
    before = len(synapse_pool.statements)
    new = chunk(synapse_pool, WINDOWS[0], 0, 0, 6, mini_app="new", fingerprint="f2")
    assert on_pool.load_window(TOPIC, WINDOWS[0], [new]).chunks_loaded == 1
    freshness(on_pool, TOPIC, WINDOWS[0])
    looked = [each for each in synapse_pool.statements[before:] if "[kafka_offset]" in each.text]
    history = [each for each in looked if "FROM [usage_analytics].[usage_events]" in each.text]
    deleted = [each for each in synapse_pool.statements[before:] if each.text.startswith("DELETE FROM")]
    changed = [each for each in deleted if "[usage_events_" in each.text]
    assert len(history) >= 2 and len(changed) == 3
    for statement in [*history, *changed]:
        assert "[trading_day] >= " in statement.text and "[trading_day] <= " in statement.text
        assert set(DAYS) <= set(statement.parameters)


def test_shares_of_a_window_do_not_touch_each_other(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    even, odd = all_shares(2)
    mine, theirs = (chunk(synapse_pool, WINDOWS[0], number, 0, 4) for number in (0, 1))
    assert on_pool.load_window(TOPIC, WINDOWS[0], [theirs], odd).rows == 4
    assert on_pool.load_window(TOPIC, WINDOWS[0], [mine], even).rows == 8
    assert on_pool.load_window(TOPIC, WINDOWS[0], [], even).rows == 4
    assert {row[0] for row in visible(synapse_pool)} == {1}


def test_rows_changed_by_other_means_are_loaded_anew(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    chunks = [chunk(synapse_pool, WINDOWS[0], 0, start, 5) for start in (0, 5)]
    on_pool.load_window(TOPIC, WINDOWS[0], chunks)
    synapse_pool.connect().execute("DELETE FROM usage_analytics.usage_events_fresh WHERE kafka_offset = 6")
    again = on_pool.load_window(TOPIC, WINDOWS[0], chunks)
    assert (again.rows, again.chunks_loaded, again.chunks_kept) == (10, 1, 1)


def test_a_file_that_the_pool_cannot_read_is_refused_and_nothing_changes(
    on_pool: SynapseWarehouse, synapse_pool: Pool
) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 3)])
    before = visible(synapse_pool)
    zstd = enriched_chunk(synapse_pool.lake_folder, WINDOWS[1], 0, 3, [{}])
    with pytest.raises(
        UserError, match=r"is compressed by zstd, which Synapse does not read; materialize usage_events"
    ):
        on_pool.load_window(TOPIC, WINDOWS[1], [zstd])
    assert visible(synapse_pool) == before and ledger_agrees(synapse_pool)


def test_a_pool_out_of_reach_is_a_sentence(synapse_pool: Pool) -> None:
    from usage_analytics_tests.warehouse.synapse.conftest import warehouse_on

    warehouse = warehouse_on(synapse_pool)
    synapse_pool.before(lambda statement: True, harm_of_login(), times=1)
    told = r"Synapse pool pool on tcp:127\.0\.0\.1,[0-9]+ cannot be reached: .*"
    with pytest.raises(TransientError, match=f"{told}is not currently available"):
        warehouse.read("SELECT COUNT(*) AS n FROM usage_events")
    stranger = replace(warehouse, pool=replace(warehouse.pool, password="another"))
    with pytest.raises(UserError, match=f"{told}Login failed") as refused:
        stranger.read("SELECT COUNT(*) AS n FROM usage_events")
    assert not isinstance(refused.value, TransientError)


def harm_of_login() -> object:
    from usage_analytics_tests.synapse_pool.faults import fails

    return fails(40613, "Database 'pool' is not currently available.")


def as_csv(warehouse: Warehouse, question: str) -> bytes:
    written = pa.BufferOutputStream()
    with warehouse.answered(question) as answer:
        pyarrow.csv.write_csv(answer.read_all(), written)
    return written.getvalue().to_pybytes()


def test_every_mart_and_reading_is_the_same_as_on_duckdb(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    there = DuckDBWarehouse(synapse_pool.lake_folder / "there.duckdb")
    chunks = [
        chunk(synapse_pool, WINDOWS[0], number, 0, 12, latency_ms=37.5 + number, action=action)
        for number, action in enumerate((None, "open"))
    ]
    for warehouse in (on_pool, there):
        warehouse.load_window(TOPIC, WINDOWS[0], chunks)
        close_stale_days(warehouse, MartRules())
    for table in [*(mart.name for mart in MARTS), *VIEWS]:
        mine, theirs = (sorted(map(str, w.read(f"SELECT * FROM {table}").rows())) for w in (on_pool, there))
        assert mine == theirs, table
    comparing = ACCEPTANCE_QUERY.findall((ROOT / "docs" / "synapse-acceptance.md").read_text(encoding="utf-8"))[-1]
    assert as_csv(on_pool, comparing) == as_csv(there, comparing) and "friction" in comparing
    assert transition_counts(on_pool).equals(transition_counts(there))
    assert transition_counts_by(on_pool, "a").rows() == transition_counts_by(there, "a").rows()
    assert recent_mini_apps(on_pool, "0" * 32, 3) == recent_mini_apps(there, "0" * 32, 3)
    assert freshness(on_pool, TOPIC, WINDOWS[0]) == freshness(there, TOPIC, WINDOWS[0]) is None
