"""Prints the rows of a query, or writes them into a file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from usage_analytics.errors import UserError
from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.reporting.terminal import CONSOLE, print_table


def print_rows(answer: pa.RecordBatchReader, most: int) -> None:
    """As a table for people; says so where there are more rows."""
    rows, more = _first(answer, most)
    print_table(f"{rows.num_rows:,} rows", rows.schema.names, list(_cells(rows)))
    if more:
        CONSOLE.print(f"The first {most:,} rows; --most shows more, --to writes all into a file")


def print_csv(answer: pa.RecordBatchReader, most: int) -> None:
    """As CSV, with a heading."""
    rows, more = _first(answer, most)
    pyarrow.csv.write_csv(rows, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    if more:
        print(f"The first {most:,} rows; --most shows more, --to writes all into a file", file=sys.stderr)


def write_file(answer: pa.RecordBatchReader, path: Path) -> None:
    """All rows; the file appears when it is whole. ``path`` ends in .csv or .parquet, else `UserError`.

    Many who read Parquet take columns by their names: there, a second `a` is called `a_2`.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"--to is a file that ends in .csv or .parquet, found {path.name!r}")
    if not path.parent.is_dir():
        raise UserError(f"--to {path}: there is no folder {path.parent}")
    temporary, rows = temporary_beside(path), 0
    schema = answer.schema if path.suffix == ".csv" else _told_apart(answer.schema)
    try:
        with _writer(temporary, path.suffix, schema) as writer:
            for batch in answer:
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
                rows += batch.num_rows
        publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    print(f"{path}: {rows:,} rows")


def _writer(path: Path, suffix: str, schema: pa.Schema) -> "pq.ParquetWriter | pyarrow.csv.CSVWriter":
    return pyarrow.csv.CSVWriter(path, schema) if suffix == ".csv" else pq.ParquetWriter(path, schema)


def _told_apart(schema: pa.Schema) -> pa.Schema:
    fields: list[pa.Field] = []
    taken = set(schema.names)
    for place, field in enumerate(schema):
        name, number = field.name, schema.names[: place + 1].count(field.name)
        while number > 1 and name in taken:
            name, number = f"{field.name}_{number}", number + 1
        taken.add(name)
        fields.append(field.with_name(name))
    return pa.schema(fields)


def _first(answer: pa.RecordBatchReader, most: int) -> tuple[pa.Table, bool]:
    batches: list[pa.RecordBatch] = []
    for batch in answer:
        batches.append(batch)
        if sum(each.num_rows for each in batches) > most:
            break
    rows = pa.Table.from_batches(batches, answer.schema)
    return rows.slice(0, most), rows.num_rows > most


def _cells(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    return zip(*(column.to_pylist() for column in rows.columns), strict=True)
