"""What a statement gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from usage_analytics_tests.synapse_pool.values import SqlType


@dataclass(frozen=True)
class Result:
    """Columns with their types and the rows, or no columns; ``count``: the rows that were read or changed."""

    columns: tuple[tuple[str, SqlType], ...] = ()
    rows: Sequence[Sequence[Any]] = ()
    count: int | None = None


NOTHING = Result()
