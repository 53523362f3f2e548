"""Changes rows of an embedded warehouse by other means than the platform's, as nobody should."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

from usage_analytics.warehouse.duckdb.closing import close_whole
from usage_analytics.warehouse.duckdb.file import fresh_of
from usage_analytics.warehouse.duckdb.tiers import CLOSED
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse

CHANGED = re.compile(r"(DELETE FROM|INSERT INTO|UPDATE) usage_events\b")


def close_all(path: Path) -> None:
    """Move all fresh rows into DuckDB's own columns."""
    with DuckDBWarehouse(path).session() as session:
        close_whole(session, fresh_of(path))


def plant(path: Path, statement: str, values: Sequence[object] = ()) -> None:
    """Run statements of DuckDB's, in which changes of `usage_events` are those of its closed rows, which all are."""
    close_all(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute(CHANGED.sub(rf"\1 {CLOSED.name}", statement), list(values))
