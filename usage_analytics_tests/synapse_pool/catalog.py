"""What the pool knows of its tables beyond DuckDB: types of T-SQL, distribution, index, partitions."""

from __future__ import annotations

import re
import threading
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import pyarrow as pa

from usage_analytics_tests.synapse_pool.errors import UNKNOWN_TABLE, Refused
from usage_analytics_tests.synapse_pool.values import SqlType
from usage_analytics_tests.synapse_pool.words import Name

CATALOG_VIEW = re.compile(r"^(sys|information_schema)$", re.I)


@dataclass(frozen=True)
class Column:
    """A column as it was declared; ``collation``: empty for the database's own."""

    name: str
    kind: SqlType
    nullable: bool = True
    collation: str = ""
    default: str = ""


@dataclass(frozen=True)
class Partitions:
    """Where a table is cut: its column and the boundaries in their order, each as Python has it."""

    column: str
    boundaries: tuple[Any, ...]
    right: bool = True


@dataclass(frozen=True)
class Layout:
    """A table of the pool; ``distribution`` such as `HASH(user_id)`, ``index`` such as `HEAP`, in capitals."""

    name: Name
    columns: tuple[Column, ...]
    distribution: str = "ROUND_ROBIN"
    index: str = "CLUSTERED COLUMNSTORE INDEX"
    partitions: Partitions | None = None

    @property
    def is_columnstore(self) -> bool:
        return "COLUMNSTORE" in self.index

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)


@dataclass
class Catalog:
    """The tables that sessions share; those of a session alone have a catalog of their own."""

    layouts: dict[tuple[str, str], Layout] = field(default_factory=dict)
    views: dict[tuple[str, str], str] = field(default_factory=dict)
    statistics: list[str] = field(default_factory=list)
    named_statistics: set[tuple[tuple[str, str], str]] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, layout: Layout) -> None:
        with self.lock:
            self.layouts[layout.name.key] = layout

    def forget(self, name: Name) -> None:
        with self.lock:
            self.layouts.pop(name.key, None)
            self.named_statistics = {known for known in self.named_statistics if known[0] != name.key}
            self.views.pop(name.key, None)

    def rename(self, name: Name, new: Name) -> None:
        with self.lock:
            self.layouts[new.key] = replace(self.layouts.pop(name.key), name=new)

    def get(self, name: Name) -> Layout:
        layout = self.layouts.get(name.key)
        if layout is None:
            raise Refused(UNKNOWN_TABLE, f"Invalid object name '{name}'.")
        return layout

    def object_id(self, name: Name, kind: str | None) -> int | None:
        """A number for a table (U) or view (V) that exists."""
        held = {"U": name.key in self.layouts, "V": name.key in self.views}
        wanted = any(held.values()) if kind is None else held.get(kind.upper().strip(), False)
        return _number(*name.key) if wanted else None


def show(catalog: Catalog, cursor: duckdb.DuckDBPyConnection, schemas: list[str]) -> None:
    """Let a session query `sys` and `INFORMATION_SCHEMA`, as they are now."""
    for name, rows in _views(catalog, schemas).items():
        cursor.register(name, rows)


def _number(*names: str) -> int:
    return zlib.crc32(".".join(names).encode()) % 2**31


def _views(catalog: Catalog, schemas: list[str]) -> dict[str, pa.Table]:
    with catalog.lock:
        layouts = [layout for layout in catalog.layouts.values() if not layout.name.is_temporary]
        views = list(catalog.views)
    objects = [(one.name.name, _number(*one.name.key), _number(one.name.schema.lower()), "U") for one in layouts]
    objects += [(name, _number(schema, name), _number(schema), "V") for schema, name in views]
    numbered = [(layout, _number(*layout.name.key)) for layout in layouts]
    cut = [(number, layout.partitions) for layout, number in numbered if layout.partitions]
    columns = [(one, number, column) for one in layouts for number, column in enumerate(one.columns, start=1)]
    return {
        "sys_schemas": _table(("name", "schema_id"), [(schema, _number(schema.lower())) for schema in schemas]),
        "sys_objects": _table(("name", "object_id", "schema_id", "type"), objects),
        "sys_tables": _table(("name", "object_id", "schema_id", "type"), [one for one in objects if one[3] == "U"]),
        "sys_views": _table(("name", "object_id", "schema_id", "type"), [one for one in objects if one[3] == "V"]),
        "sys_indexes": _table(
            ("object_id", "index_id", "type_desc", "data_space_id"),
            [(number, int(one.index != "HEAP"), _index(one), number) for one, number in numbered],
        ),
        "sys_partition_schemes": _table(("data_space_id", "function_id"), [(number, number) for number, _ in cut]),
        "sys_partition_functions": _table(
            ("function_id", "fanout", "boundary_value_on_right"),
            [(number, len(parts.boundaries) + 1, int(parts.right)) for number, parts in cut],
        ),
        "sys_partition_range_values": _table(
            ("function_id", "boundary_id", "value"),
            [(number, at, str(edge)) for number, parts in cut for at, edge in enumerate(parts.boundaries, start=1)],
        ),
        "sys_pdw_table_distribution_properties": _table(
            ("object_id", "distribution_policy_desc"),
            [(number, one.distribution.partition("(")[0].strip()) for one, number in numbered],
        ),
        "sys_columns": _table(
            ("object_id", "name", "column_id"),
            [(_number(*one.name.key), column.name, number) for one, number, column in columns],
        ),
        "sys_stats": _table(("object_id", "name"), [(_number(*key), name) for key, name in catalog.named_statistics]),
        "information_schema_tables": _table(
            ("TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE"),
            [("pool", one.name.schema, one.name.name, "BASE TABLE") for one in layouts]
            + [("pool", schema, name, "VIEW") for schema, name in views],
        ),
        "information_schema_columns": _table(
            (
                "TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "ORDINAL_POSITION", "IS_NULLABLE",
                "DATA_TYPE", "CHARACTER_MAXIMUM_LENGTH", "NUMERIC_PRECISION", "NUMERIC_SCALE", "COLLATION_NAME",
            ),
            [
                (
                    "pool", one.name.schema, one.name.name, column.name, number, "YES" if column.nullable else "NO",
                    column.kind.name, column.kind.length or None, column.kind.precision or None,
                    column.kind.scale if column.kind.name == "decimal" else None, column.collation or None,
                )
                for one, number, column in columns
            ],
        ),
    }  # fmt: skip


def _index(layout: Layout) -> str:
    if layout.is_columnstore:
        return "CLUSTERED COLUMNSTORE"
    return "HEAP" if layout.index == "HEAP" else "CLUSTERED"


WHOLE_NUMBERS = {
    "object_id", "column_id", "schema_id", "index_id", "data_space_id", "function_id", "fanout", "boundary_id",
    "boundary_value_on_right", "ORDINAL_POSITION", "CHARACTER_MAXIMUM_LENGTH", "NUMERIC_PRECISION", "NUMERIC_SCALE",
}  # fmt: skip


def _table(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> pa.Table:
    kinds = [pa.int32() if name in WHOLE_NUMBERS else pa.string() for name in names]
    return pa.table(
        [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)],
        names=list(names),
    )
