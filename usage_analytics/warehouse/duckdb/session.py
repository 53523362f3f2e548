"""The platform's SQL on the embedded warehouse."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
import polars.selectors as cs
from sqlalchemy import Connection, text

from usage_analytics.tables import Kind, Table
from usage_analytics.warehouse.session import AS_TEXTS, NO_VALUES, Types, Values

TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.INT: "INTEGER",
    Kind.BIGINT: "BIGINT",
    Kind.DOUBLE: "DOUBLE",
    Kind.DATE: "DATE",
    Kind.SUM: "DECIMAL(38, 0)",
}


MARTS_BYTES_PER_EVENT = 200  # beyond that, DuckDB writes to disk what it cannot hold, and at last gives up
# Bytes: the list of a type's texts is held beside what DuckDB may take.
MOST_TEXT_OF_CODES = 32 * 2**20
# Found out by measuring: to try all of DuckDB's ways on long texts that are all different costs more than zstd itself.
COMPRESSION = {"properties": " USING COMPRESSION zstd"}


def create_table(table: Table, kind: str = "TABLE", types: Types = AS_TEXTS) -> str:
    """The statement that makes a table, or one of another ``kind``; ``types``: of columns that have their own."""
    columns = [
        f"{c.name} {types.get(c.name, TYPES[c.kind])}{'' if c.nullable else ' NOT NULL'}{COMPRESSION.get(c.name, '')}"
        for c in table.columns
    ]
    return f"CREATE {kind} {table.name} ({', '.join(columns)})"


class DuckDBSession:
    """A `Session` over a connection that is open; each statement takes effect at once, or with its transaction."""

    def __init__(self, connection: Connection, memory_mb: int) -> None:
        self._connection, self._within, self._memory_mb = connection, False, memory_mb

    def run(self, statement: str, values: Values = NO_VALUES) -> None:
        self._connection.execute(text(statement), dict(values))
        self._keep()

    def rows(self, statement: str, values: Values = NO_VALUES) -> list[tuple[Any, ...]]:
        found = [tuple(row) for row in self._connection.execute(text(statement), dict(values))]
        self._keep()
        return found

    def frame(self, statement: str, values: Values = NO_VALUES) -> pl.DataFrame:
        raw = duckdb_of(self._connection)
        found = raw.sql(re.sub(r"(?<!:):(\w+)", r"$\1", statement), params=dict(values)).to_arrow_table()
        return pl.DataFrame(pl.from_arrow(found)).with_columns(
            cs.categorical().cast(pl.String), cs.enum().cast(pl.String)
        )

    def run_natively(self, statement: str) -> None:
        """A statement that names files: a colon in a path is no parameter to DuckDB itself."""
        duckdb_of(self._connection).execute(statement)
        self._keep()

    def coded(self, columns: Sequence[str], chosen: str, values: Values) -> Types:
        types: dict[str, str] = {}
        for column in columns:
            name = f"coded_{column}"
            query = f"SELECT DISTINCT {column} AS text FROM usage_events WHERE {chosen} AND {column} IS NOT NULL"
            self.run(f"CREATE OR REPLACE TEMPORARY TABLE texts AS {query}", values)
            [(size,)] = self.rows("SELECT SUM(strlen(text)) FROM texts")
            if size is not None and size <= MOST_TEXT_OF_CODES:
                self.run(f"DROP TYPE IF EXISTS {name} CASCADE")
                self.run(f"CREATE TEMPORARY TYPE {name} AS ENUM (SELECT text FROM texts ORDER BY text)")
                types[column] = name
        self.run("DROP TABLE IF EXISTS texts")
        return types

    def slices(self, events: int) -> int:
        return 1 + events * MARTS_BYTES_PER_EVENT // (self._memory_mb * 10**6)

    def temporary(self, table: Table, types: Types = AS_TEXTS) -> None:
        self.run(create_table(table, "OR REPLACE TEMPORARY TABLE", types))

    def append(self, table: Table, rows: pl.DataFrame) -> None:
        raw = duckdb_of(self._connection)
        raw.register("new_rows", rows.to_arrow())
        raw.execute(f"INSERT INTO {table.name} BY NAME SELECT * FROM new_rows")
        raw.unregister("new_rows")
        self._keep()

    def update_statistics(self, table: Table) -> None:
        pass  # DuckDB keeps them

    def path_of_property(self, name: str) -> str:
        return "/" + name.replace("~", "~0").replace("/", "~1")  # a JSON pointer: DuckDB's paths cannot name '*' or ''

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.begin()  # by hand: a statement of DuckDB's own would not begin one
        self._within = True
        try:
            yield
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            self._within = False

    def _keep(self) -> None:
        if not self._within:
            self._connection.commit()


def duckdb_of(connection: Connection) -> Any:
    """DuckDB's own interface, inside SQLAlchemy's transaction: for Arrow tables and lists of Parquet files."""
    return connection.connection.driver_connection
