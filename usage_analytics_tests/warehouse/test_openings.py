"""Friction of several trading days, on DuckDB."""

from pathlib import Path

from fakes import enriched_chunk

from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.warehouse import friction_under_test


def test_friction_adds_up_over_the_last_trading_days(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    friction_under_test.friction_adds_up_over_the_last_trading_days(
        warehouse, lambda window, events: enriched_chunk(memory_path, window, 0, 0, events)
    )


def test_an_absurd_measurement_among_a_thousand_moves_nothing(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    friction_under_test.an_absurd_measurement_among_a_thousand_moves_nothing(
        warehouse, lambda window, events: enriched_chunk(memory_path, window, 0, 0, events)
    )
