"""What the platform's SQL runs on: a connection to a column store, whichever it is."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import polars as pl

from usage_analytics.tables import Table

Values = Mapping[str, object]
NO_VALUES: Values = {}
Types = Mapping[str, str]  # by column
AS_TEXTS: Types = {}


class Session(Protocol):
    """A connection. Statements are in the platform's own SQL (`dialects`), their values named parameters."""

    def run(self, statement: str, values: Values = NO_VALUES) -> None: ...

    def rows(self, statement: str, values: Values = NO_VALUES) -> list[tuple[Any, ...]]: ...

    def frame(self, statement: str, values: Values = NO_VALUES) -> pl.DataFrame: ...

    def coded(self, columns: Sequence[str], chosen: str, values: Values) -> Types:
        """Types of the store's own in which the texts of some columns are small numbers that sort as the texts do.

        ``chosen``: the condition on `usage_events` of the rows that they must serve; a type serves no others. A column
        without one is kept as text. Not within a transaction.
        """
        ...

    def slices(self, events: int) -> int:
        """In how many slices of users so many usage events are worked through, for what memory there is."""
        ...

    def temporary(self, table: Table, types: Types = AS_TEXTS) -> None:
        """An empty table that nobody else sees, and that goes with the connection. Not within a transaction."""
        ...

    def append(self, table: Table, rows: pl.DataFrame) -> None:
        """Add rows that are few enough to travel in statements."""
        ...

    def update_statistics(self, table: Table) -> None:
        """Have the store look at what a table holds now, where it does not by itself. Not within a transaction."""
        ...

    def path_of_property(self, name: str) -> str:
        """What JSON_EXTRACT_STRING wants as the path of a property of an event, whatever its name."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing of what is run within."""
        ...
