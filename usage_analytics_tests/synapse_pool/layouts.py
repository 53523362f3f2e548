"""What WITH (...) says of a table: how its rows are spread, kept and cut into partitions."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from usage_analytics_tests.synapse_pool.catalog import Layout, Partitions
from usage_analytics_tests.synapse_pool.errors import SYNTAX, UNKNOWN_COLUMN, Refused
from usage_analytics_tests.synapse_pool.values import SqlType
from usage_analytics_tests.synapse_pool.words import Reader, parts, quoted


def options_of(layout: Layout, text: str) -> Layout:
    """A table with the options that its statement names."""
    for option in filter(None, parts(text)):
        reader = Reader(option)
        if reader.may_take("DISTRIBUTION", "="):
            layout = replace(layout, distribution=_distribution(layout, reader))
        elif reader.may_take("PARTITION"):
            layout = replace(layout, partitions=_partitions(layout, Reader(reader.bracketed())))
        else:
            layout = replace(layout, index=" ".join(word.upper for word in reader.words))
    return layout


def _distribution(layout: Layout, reader: Reader) -> str:
    kind = reader.name().upper()
    if kind != "HASH":
        return kind
    columns = [Reader(part).name() for part in parts(reader.bracketed())]
    for column in columns:
        if layout.column(column) is None:
            raise Refused(UNKNOWN_COLUMN, f"Invalid column name '{column}'.")
    return f"HASH({', '.join(column.lower() for column in columns)})"


def _partitions(layout: Layout, reader: Reader) -> Partitions:
    column = layout.column(name := reader.name())
    if column is None:
        raise Refused(UNKNOWN_COLUMN, f"Invalid column name '{name}'.")
    reader.take("RANGE")
    right = reader.may_take("RIGHT")
    if not right:
        reader.may_take("LEFT")
    reader.take("FOR", "VALUES")
    boundaries = [boundary(part, column.kind) for part in parts(reader.bracketed()) if part]
    if len(set(boundaries)) != len(boundaries):
        raise Refused(7721, "Duplicate range boundary values are not allowed in partition function boundary values.")
    return Partitions(column.name, tuple(sorted(boundaries)), right)


def boundary(text: str, kind: SqlType) -> Any:
    """A boundary as Python has it, whatever way the statement wrote it."""
    reader = Reader(text)
    said = reader.string() if reader.words[0].kind == "string" else text
    try:
        if kind.name == "date":
            return date.fromisoformat(said if "-" in said else f"{said[:4]}-{said[4:6]}-{said[6:]}")
        return int(said) if kind.name in ("int", "bigint", "smallint") else said
    except ValueError:
        raise Refused(SYNTAX, f"Parse error: {text} is no boundary for a column of the type {kind}.") from None


def rows_in(layout: Layout, number: int) -> str:
    """DuckDB's condition for the rows of a partition; partitions are numbered from 1."""
    parted = layout.partitions
    if parted is None:
        if number != 1:
            raise Refused(7722, f"Invalid partition number {number} specified for table '{layout.name}'.")
        return "true"
    count = len(parted.boundaries) + 1
    if not 1 <= number <= count:
        raise Refused(7722, f"Invalid partition number {number} specified for table '{layout.name}' of {count}.")
    column = quoted(parted.column)
    above, below = (">=", "<") if parted.right else (">", "<=")
    conditions = []
    if number > 1:
        conditions.append(f"{column} {above} '{parted.boundaries[number - 2]}'")
    if number < count:
        conditions.append(f"{column} {below} '{parted.boundaries[number - 1]}'")
    found = " AND ".join(conditions) or "true"
    return f"({found} OR {column} IS NULL)" if number == 1 else found


def partition_of(parted: Partitions, value: Any) -> int:
    """The number of the partition that holds a value."""
    return 1 + sum(value >= edge if parted.right else value > edge for edge in parted.boundaries)
