"""The platform's SQL on a dedicated SQL pool."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from typing import Any

import polars as pl
from sqlalchemy import Connection, CursorResult, text

from usage_analytics.tables import (
    ACTION_WAITS,
    APP_USES,
    FUNNEL_MATCHES,
    FUNNEL_REACHED,
    KEPT,
    OF_A_REFRESH,
    REPEATED_EVENTS,
    SESSION_EVENTS,
    Table,
)
from usage_analytics.warehouse.dialects import to_tsql
from usage_analytics.warehouse.marts import VIEWS
from usage_analytics.warehouse.session import AS_TEXTS, NO_VALUES, Types, Values
from usage_analytics.warehouse.synapse.ddl import bracketed, column_type, create_table, text_literal

TIERS = tuple(f"usage_events_{name}" for name in ("fresh", "closed", "long"))  # see `tiers`
# What temporary tables are joined and grouped by. Of these the pool makes no statistics by itself (Microsoft, "Table
# statistics"), and without any it takes a table of a day's events for one of a thousand rows.
STATISTICS = {
    REPEATED_EVENTS.name: ("topic", "kafka_partition", "kafka_offset"),
    SESSION_EVENTS.name: (
        "user_id", "session_number", "position", "fold", "prev1", "prev2", "prev3", "mini_app", "action",
    ),
    APP_USES.name: ("user_id", "session_number", "mini_app"),
    ACTION_WAITS.name: ("mini_app", "action", "bucket"),
    FUNNEL_MATCHES.name: ("funnel", "step", "user_id"),
    FUNNEL_REACHED.name: ("funnel", "step", "user_id"),
}  # fmt: skip
ROWS_AT_ONCE = 100_000  # as Python has them, before they are columns
MOST_PARAMETERS = 2_000  # the pool takes 2,098 in a statement
POLARS = {int: pl.Int64, float: pl.Float64, str: pl.String, bool: pl.Boolean, Decimal: pl.Decimal(38, 0)}


class SynapseSession:
    """A `Session` over a connection that is open; each statement takes effect at once, or with its transaction."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection, self.schema = connection, schema
        self._temporary: dict[str, bool] = {}  # by name; whether there are statistics of it

    def name(self, table: str) -> str:
        """A table or view of the schema, as statements name it."""
        return f"{bracketed(self.schema)}.{bracketed(table)}"

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What the platform's SQL calls its tables, and what they are called here."""
        kept = {name: self.name(name) for name in [*(table.name for table in KEPT), *VIEWS, *TIERS]}
        return kept | {table.name: f"#{table.name}" for table in OF_A_REFRESH}

    def run(self, statement: str, values: Values = NO_VALUES) -> None:
        self.run_natively(to_tsql(statement, self.names), values)

    def rows(self, statement: str, values: Values = NO_VALUES) -> list[tuple[Any, ...]]:
        return self.rows_natively(to_tsql(statement, self.names), values)

    def frame(self, statement: str, values: Values = NO_VALUES) -> pl.DataFrame:
        found = self._execute(to_tsql(statement, self.names), values)
        described = found.cursor.description if found.cursor is not None else []
        kinds: list[tuple[Any, ...]] = [tuple(column) for column in described]
        schema: dict[str, Any] = {kind[0]: POLARS.get(kind[1], pl.Date) for kind in kinds}
        parts = [pl.DataFrame(schema=schema)]
        while rows := found.fetchmany(ROWS_AT_ONCE):
            parts.append(pl.DataFrame([tuple(row) for row in rows], schema, orient="row"))
        return pl.concat(parts)

    def run_natively(self, statement: str, values: Values = NO_VALUES) -> None:
        """A statement in the pool's own T-SQL."""
        self._execute(statement, values).close()

    def change_natively(self, statement: str, values: Values = NO_VALUES) -> int:
        """How many rows an INSERT, UPDATE or DELETE has changed."""
        return self._execute(statement, values).rowcount

    def rows_natively(self, statement: str, values: Values = NO_VALUES) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._execute(statement, values)]

    def stream(self, query: str) -> tuple[Sequence[Sequence[Any]], Iterator[tuple[Any, ...]]]:
        """A query's columns as the driver describes them, and its rows as they come; it takes no values."""
        found = self._connection.exec_driver_sql(query)  # a colon in a text is no parameter
        return found.cursor.description if found.cursor is not None else [], (tuple(row) for row in found)

    def coded(self, columns: Sequence[str], chosen: str, values: Values) -> Types:
        return AS_TEXTS  # the pool keeps texts as they are

    def slices(self, events: int) -> int:
        return 1  # the pool deals the users to its nodes

    def temporary(self, table: Table, types: Types = AS_TEXTS) -> None:
        name, spread = f"#{table.name}", table.spread_by
        if table.name in self._temporary:
            self.run_natively(f"DROP TABLE {name}")
        layout = f"DISTRIBUTION = HASH([{spread}]), HEAP" if spread else "DISTRIBUTION = ROUND_ROBIN, HEAP"
        self.run_natively(create_table(name, table.columns, layout))
        self._temporary[table.name] = False

    def append(self, table: Table, rows: pl.DataFrame) -> None:
        columns = [column for column in table.columns if column.name in rows.columns]
        into = ", ".join(bracketed(column.name) for column in columns)
        name = self.names.get(table.name, f"#{table.name}")
        at_once = MOST_PARAMETERS // len(columns)
        for start in range(0, rows.height, at_once):
            values: dict[str, object] = {}
            selects = []
            for number, row in enumerate(rows.select([c.name for c in columns]).slice(start, at_once).iter_rows()):
                cells = []
                for column, cell in zip(columns, row, strict=True):
                    values[f"{column.name}_{number}"] = cell
                    cells.append(f"CAST(:{column.name}_{number} AS {column_type(column)})")
                selects.append(f"SELECT {', '.join(cells)}")
            self.run_natively(f"INSERT INTO {name} ({into}) {' UNION ALL '.join(selects)}", values)

    def update_statistics(self, table: Table) -> None:
        if table.name not in self._temporary:
            self.run_natively(f"UPDATE STATISTICS {self.name(table.name)}")
        elif self._temporary[table.name]:
            self.run_natively(f"UPDATE STATISTICS #{table.name}")
        else:
            for column in STATISTICS.get(table.name, ()):
                statistics = bracketed(f"of_{column}")
                self.run_natively(f"CREATE STATISTICS {statistics} ON #{table.name} ({bracketed(column)})")
            self._temporary[table.name] = True

    def look_at(self, table: str, columns: Sequence[str]) -> None:
        """Statistics of some columns of a table as it is now: the pool makes what it misses, but renews none."""
        name = self.name(table)
        found = self.rows_natively(f"SELECT [name] FROM sys.stats WHERE [object_id] = OBJECT_ID({text_literal(name)})")
        for column in columns:
            statistics = f"of_{column}"
            if (statistics,) in found:
                self.run_natively(f"UPDATE STATISTICS {name} ({bracketed(statistics)})")
            else:
                self.run_natively(f"CREATE STATISTICS {bracketed(statistics)} ON {name} ({bracketed(column)})")

    def path_of_property(self, name: str) -> str:
        return '$."' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'

    @contextmanager
    def transaction(self) -> Iterator[None]:
        raw: Any = self._connection.connection.driver_connection
        raw.autocommit = False
        try:
            yield
            raw.commit()
        except BaseException:
            self._give_up(raw)
            raise
        raw.autocommit = True

    def _give_up(self, raw: Any) -> None:
        import pyodbc

        try:
            raw.rollback()
            raw.autocommit = True
        except pyodbc.Error:
            # Turned to autocommit, a connection commits what is open. Closed, it never does, whatever state it is in.
            self._connection.invalidate()

    def _execute(self, statement: str, values: Values) -> CursorResult[Any]:
        bound = {name: _bound(value) for name, value in values.items()}
        return self._connection.execute(text(statement), bound)


def _bound(value: object) -> object:
    # More than a bigint holds the driver takes as a decimal alone.
    return Decimal(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value
