"""A warehouse of its own for each test."""

from pathlib import Path

import pytest

from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse


@pytest.fixture
def warehouse(memory_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(memory_path / "warehouse.duckdb", wait_s=1)
