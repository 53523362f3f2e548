"""What models read of users and of the day, on DuckDB."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import enriched_chunk

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.warehouse import readings_under_test as under_test


@pytest.fixture
def make_chunk(memory_path: Path) -> Callable[[str, list[dict[str, Any]]], EnrichedChunk]:
    return lambda window, events: enriched_chunk(memory_path, window, 0, 0, events)


def test_sampled_sessions_are_whole_and_in_order(
    warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk, tmp_path: Path
) -> None:
    under_test.sampled_sessions_are_whole_and_in_order(warehouse, make_chunk, tmp_path)


def test_a_sample_has_whole_users(warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk) -> None:
    under_test.a_sample_has_whole_users_and_about_as_many_events(warehouse, make_chunk)


def test_visits_are_those_of_the_last_trading_days(
    warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk
) -> None:
    under_test.visits_are_those_of_the_last_trading_days(warehouse, make_chunk)


def test_minutes_are_counted_from_the_opening_hour(
    warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk
) -> None:
    under_test.minutes_are_counted_from_the_opening_hour(warehouse, make_chunk)
