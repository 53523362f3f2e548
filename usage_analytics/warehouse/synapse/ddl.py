"""The platform's tables as a dedicated pool declares them.

Distributions, indexes, partitions: Microsoft, "CREATE TABLE (Azure Synapse Analytics)". No keys are declared: the pool
enforces none, and answers wrongly where a declared one does not hold ("Table constraints").
"""

from collections.abc import Sequence
from datetime import date

from usage_analytics.tables import Column, Kind, Table

# Like DuckDB, character by character; the pool's own rule is blind to case. Spaces at the end it never sees.
COLLATION = "Latin1_General_100_BIN2"
UNBOUNDED = 0  # a text's length: as long as it may be, which no columnstore takes


def column_type(column: Column, length: int | None = None) -> str:
    """A column's type; a text's ``length`` may be another than the registry's."""
    if column.kind is Kind.TEXT:
        longest = column.length if length is None else length
        return f"nvarchar({longest or 'max'})"
    return {
        Kind.INT: "int", Kind.BIGINT: "bigint", Kind.DOUBLE: "float", Kind.DATE: "date", Kind.SUM: "decimal(38, 0)",
    }[column.kind]  # fmt: skip


def create_table(name: str, columns: Sequence[Column], layout: str, lengths: dict[str, int] | None = None) -> str:
    """The statement that makes a table; ``layout``: what stands in its WITH."""
    declared = []
    for column in columns:
        kind = column_type(column, (lengths or {}).get(column.name))
        collation = f" COLLATE {COLLATION}" if column.kind is Kind.TEXT else ""
        declared.append(f"[{column.name}] {kind}{collation} {'NULL' if column.nullable else 'NOT NULL'}")
    return f"CREATE TABLE {name} ({', '.join(declared)}) WITH ({layout})"


def layout_of(table: Table) -> str:
    """How a mart or ledger lies in the pool. None is whole on every node: that is made anew after each change.

    A mart is in the order of its days: one is deleted and read as a range of pages. Partitions and columnstores would
    want a million rows of a day in each distribution (Microsoft, "Partitioning tables"), which no mart has.
    """
    index = "CLUSTERED INDEX ([trading_day])" if table.by_day else "HEAP"
    return f"DISTRIBUTION = {f'HASH([{table.spread_by}])' if table.spread_by else 'ROUND_ROBIN'}, {index}"


def partitions(days: Sequence[date]) -> str:
    """One partition for each day and for each gap between them. DDL takes no parameters: days are written out."""
    return f"PARTITION ([trading_day] RANGE RIGHT FOR VALUES ({', '.join(day_literal(day) for day in days)}))"


def day_literal(day: date) -> str:
    return f"'{day.isoformat()}'"


def text_literal(text: str) -> str:
    """For what takes no parameters: addresses of files, labels, names of objects."""
    return "N'" + text.replace("'", "''") + "'"


def address_literal(address: str) -> str:
    """COPY takes plain texts only."""
    return "'" + address.replace("'", "''") + "'"


def bracketed(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


def drop_table(name: str) -> str:
    """Without an error where there is none."""
    return f"IF OBJECT_ID({text_literal(name)}, N'U') IS NOT NULL DROP TABLE {name}"
