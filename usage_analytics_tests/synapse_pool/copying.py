"""COPY INTO from Parquet: which files, which of their columns, and which types the pool takes."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq

from usage_analytics_tests.synapse_pool.catalog import Column, Layout
from usage_analytics_tests.synapse_pool.errors import (
    LOAD_FAILED,
    NO_FILE,
    SYNTAX,
    UNKNOWN_COLUMN,
    Refused,
    told,
)
from usage_analytics_tests.synapse_pool.results import Result
from usage_analytics_tests.synapse_pool.words import Reader, parts, quoted

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.sessions import Session

MOST_FILES = 5000
COMPRESSIONS = ("SNAPPY", "GZIP", "UNCOMPRESSED")
SIGNED = {8: "smallint", 16: "smallint", 32: "int", 64: "bigint"}
UNSIGNED = {8: "tinyint", 16: "int", 32: "bigint", 64: "decimal"}


@dataclass(frozen=True)
class Field:
    """A column of the table, the number of its column in the files, and what stands for their NULLs."""

    column: Column
    number: int
    default: str = ""


def copy_into(session: Session, reader: Reader) -> Result:
    """Load the files of one COPY, all or none."""
    layout = session.pool.catalog.get(reader.object_name())
    fields = _fields(layout, reader.bracketed() if reader.sees("(") else "")
    reader.take("FROM")
    addresses = [reader.string()]
    while reader.may_take(","):
        addresses.append(reader.string())
    options = reader.bracketed() if reader.may_take("WITH") else ""
    if "PARQUET" not in options.upper():
        raise Refused(SYNTAX, "Parse error: the pool of these tests loads Parquet only.")
    if reader.may_take("OPTION"):
        session.pool.labels.append(Reader(reader.bracketed()).words[-1].value)
    reader.end()
    files = [file for address in addresses for file in _files(session, address)]
    if len(files) > MOST_FILES:
        raise Refused(LOAD_FAILED, f"COPY INTO of {len(files)} files: {MOST_FILES} are the most.")
    return Result(count=_load(session, layout, fields, files))


def _fields(layout: Layout, text: str) -> list[Field]:
    if not text:
        return [Field(column, number) for number, column in enumerate(layout.columns, start=1)]
    found = []
    for place, part in enumerate(parts(text), start=1):
        reader = Reader(part)
        column = layout.column(name := reader.name())
        if column is None:
            raise Refused(UNKNOWN_COLUMN, f"Invalid column name '{name}'.")
        default = reader.next().text if reader.may_take("DEFAULT") else ""
        number = place if reader.is_at_end() else int(reader.next().text)
        found.append(Field(column, number, default))
    return found


def _files(session: Session, address: str) -> list[Path]:
    """The files of an address: itself, all of a folder but those which begin with _ or ., or those of a pattern."""
    root = session.pool.lake_address + "/"
    path = session.pool.lake_folder / address.removeprefix(root)
    found: list[Path] = []
    if address.startswith(root):
        if "*" in path.name:
            found = [file for file in sorted(path.parent.glob("*")) if _matches(file, path.name)]
        elif path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.is_file() and _counts(file.relative_to(path))]
        elif path.is_file():
            found = [path]
    if not found:
        raise Refused(NO_FILE, f"External file access failed due to internal error: no file at '{address}'.")
    return found


def _matches(file: Path, pattern: str) -> bool:
    return fnmatch.fnmatchcase(file.name, pattern) and _counts(Path(file.name))


def _counts(path: Path) -> bool:
    return not any(part.startswith(("_", ".")) for part in path.parts)


def _load(session: Session, layout: Layout, fields: list[Field], files: list[Path]) -> int:
    alone = not session.in_transaction
    if alone:
        session.execute("BEGIN TRANSACTION")
    try:
        count = sum(_load_file(session, layout, fields, file) for file in files)
        if alone:
            session.execute("COMMIT")
    except BaseException:
        if alone:
            session.execute("ROLLBACK")
        raise
    return count


def _load_file(session: Session, layout: Layout, fields: list[Field], file: Path) -> int:
    names = _checked(fields, file)
    columns = ", ".join(quoted(field.column.name) for field in fields)
    values = ", ".join(
        f"coalesce({quoted(name)}, {field.default.lstrip('Nn')})" if field.default else quoted(name)
        for field, name in zip(fields, names, strict=True)
    )
    path = str(file).replace("'", "''")
    try:
        rows = session.execute(f"INSERT INTO {layout.name.sql} ({columns}) SELECT {values} FROM read_parquet('{path}')")
    except duckdb.ConstraintException as error:
        refused = told(error)
        raise Refused(refused.number, f"{refused} (at {file.name})") from error
    return int(rows[0][0])


def _checked(fields: list[Field], file: Path) -> list[str]:
    """The names that the fields have in a file; `Refused` for what the pool cannot read of it."""
    try:
        with pq.ParquetFile(file) as opened:
            metadata, schema = opened.metadata, opened.schema
    except (OSError, ValueError) as error:
        raise _bad(file, f"it is no Parquet: {error}") from error
    for group in range(metadata.num_row_groups):
        used = {metadata.row_group(group).column(at).compression for at in range(metadata.num_columns)}
        if other := used.difference(COMPRESSIONS):
            raise _bad(
                file, f"it is compressed by {', '.join(sorted(other))}, and Snappy and gzip are all that is read"
            )
    names = []
    for field in fields:
        if field.number > len(schema):
            raise _bad(file, f"it has {len(schema)} columns, and '{field.column.name}' is to be number {field.number}")
        held = schema.column(field.number - 1)
        _check_type(file, field.column, held)
        names.append(held.name)
    return names


def _check_type(file: Path, column: Column, held: pq.ColumnSchema) -> None:
    kind, type_of_file = column.kind, _type_in_pool(file, held)
    fits = kind.name == type_of_file or (type_of_file == "nvarchar" and kind.is_text)
    if kind.name == type_of_file == "decimal":
        fits = held.scale == kind.scale and held.precision <= kind.precision
    if not fits:
        said = f"{held.physical_type} {held.logical_type}"
        raise _bad(
            file, f"its column '{held.name}' ({said}) is {type_of_file}, and '{column.name}' of the table {kind}"
        )


def _type_in_pool(file: Path, held: pq.ColumnSchema) -> str:
    """The type that Parquet's becomes, by Microsoft's table of them."""
    logical = json.loads(held.logical_type.to_json())
    match logical["Type"], held.physical_type:
        case "None", physical:
            plain = {
                "BOOLEAN": "bit", "INT32": "int", "INT64": "bigint", "FLOAT": "real", "DOUBLE": "float",
                "INT96": "datetime2", "BYTE_ARRAY": "varbinary", "FIXED_LEN_BYTE_ARRAY": "binary",
            }  # fmt: skip
            return plain[physical]
        case "Int", _:
            return (SIGNED if logical["isSigned"] else UNSIGNED)[logical["bitWidth"]]
        case (("String" | "Enum"), _):
            return "nvarchar"
        case "Date", _:
            return "date"
        case "Decimal", _:
            return "decimal"
        case "UUID", _:
            return "uniqueidentifier"
        case (("Timestamp" | "Time"), _):
            if logical["timeUnit"] != "milliseconds":
                raise _bad(file, f"its column '{held.name}' is a {logical['Type']} of {logical['timeUnit']}")
            return "datetime2" if logical["Type"] == "Timestamp" else "time"
    raise _bad(file, f"its column '{held.name}' has the type {held.logical_type}")


def _bad(file: Path, why: str) -> Refused:
    return Refused(LOAD_FAILED, f"HdfsBridge::recordReaderFillBuffer - Unexpected error: {file.name}: {why}.")
