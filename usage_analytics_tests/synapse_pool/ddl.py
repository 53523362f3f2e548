"""Tables, schemas and views of the pool."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from usage_analytics_tests.synapse_pool.catalog import Column, Layout
from usage_analytics_tests.synapse_pool.errors import EXISTS, SYNTAX, UNKNOWN_COLUMN, UNKNOWN_TABLE, Refused
from usage_analytics_tests.synapse_pool.layouts import options_of
from usage_analytics_tests.synapse_pool.results import NOTHING, Result
from usage_analytics_tests.synapse_pool.translating import Parameters, translated, without_hints
from usage_analytics_tests.synapse_pool.values import sql_type, type_of_result
from usage_analytics_tests.synapse_pool.words import Name, Reader, name_in, parts, quoted

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.sessions import Session

KEY = re.compile(r"^\s*(CONSTRAINT|PRIMARY\s+KEY|UNIQUE)\b", re.I)
NULLS = re.compile(r"\bNOT\s+NULL\b", re.I)
COLLATE = re.compile(r"\bCOLLATE\s+(\w+)", re.I)
DEFAULT = re.compile(r"\bDEFAULT\s+\(?(N?'(?:[^']|'')*'|-?[\w.]+)\)?", re.I)
DECLARED = re.compile(r"^\s*(\[[^\]]+\]|\"[^\"]+\"|\w+)\s+(\[?\w+\]?(?:\s*\([^)]*\))?)(.*)$", re.S)
CASE_SENSITIVE = re.compile(r"BIN|_CS_|_CS$", re.I)
# UTF-16 units, of which nvarchar(n) has n: one more for each character beyond the first 65,536.
UNITS = "length({0}) + length(regexp_replace({0}, '[^\\x{{10000}}-\\x{{10FFFF}}]', '', 'g'))"


def create_table(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.object_name()
    if session.catalog(name).object_id(name, None) is not None:
        raise Refused(EXISTS, f"There is already an object named '{name.name}' in the database.")
    if not name.is_temporary and name.schema.lower() not in [schema.lower() for schema in session.pool.schemas()]:
        raise Refused(2760, f'The specified schema name "{name.schema}" either does not exist or you cannot use it.')
    if reader.sees("("):
        columns = tuple(column_of(part) for part in parts(reader.bracketed()) if not KEY.match(part))
        options = reader.bracketed() if reader.may_take("WITH") else ""
        reader.end()
        layout = options_of(Layout(name, columns), options)
        _make(session, layout)
        return NOTHING
    reader.take("WITH")
    options = reader.bracketed()
    reader.take("AS")
    return _create_as(session, name, options, reader.rest(), parameters)


def _create_as(session: Session, name: Name, options: str, select: str, parameters: Parameters) -> Result:
    if parameters:
        raise Refused(SYNTAX, "Parse error: DDL takes no parameters.")
    plain, label = without_hints(select)
    session.pool.labels.extend([label] if label else [])
    said = translated(session.with_functions(plain), {})
    described = session.columns_of(said.sql)
    inherited = _inherited(session, plain)
    columns = tuple(
        inherited.get(at) or Column(column, type_of_result(kind)) for at, (column, kind) in enumerate(described)
    )
    named = tuple(
        Column(column, kept.kind, kept.nullable, kept.collation)
        for (column, _), kept in zip(described, columns, strict=True)
    )
    layout = options_of(Layout(name, named), options)
    _make(session, layout)
    try:
        session.execute(f"INSERT INTO {name.sql} {said.sql}")
    except Exception:
        _unmake(session, name)
        raise
    rows = session.execute(f"SELECT count(*) FROM {name.sql}")
    return Result(count=int(rows[0][0]))


def _inherited(session: Session, select: str) -> dict[int, Column]:
    """Of a query's columns, by position: those which are plain columns of one table, or casts, as declared there."""
    tree = sqlglot.parse_one(select, read="tsql")
    if not isinstance(tree, exp.Select):
        return {}
    layouts = {}
    joined = [join.this for join in tree.args.get("joins") or []]
    source = tree.find(exp.From)
    for table in [*([source.this] if source else []), *joined]:
        if isinstance(table, exp.Table):
            name = name_in(f"{table.db}.{table.name}") if table.db else Name("dbo", table.name)
            layout = session.catalog(name).layouts.get(name.key)
            if layout is not None:
                layouts[table.alias_or_name.lower()] = layout
    found = {}
    for at, projection in enumerate(tree.expressions):
        value = projection.this if isinstance(projection, exp.Alias) else projection
        if isinstance(value, exp.Cast):
            found[at] = Column(projection.alias_or_name, sql_type(value.to.sql(dialect="tsql")))
        elif isinstance(value, exp.Column) and not isinstance(value.this, exp.Star):
            owners = [layouts[value.table.lower()]] if value.table.lower() in layouts else list(layouts.values())
            columns = [column for owner in owners if (column := owner.column(value.name))]
            if len(columns) == 1:
                found[at] = columns[0]
    return found


def column_of(text: str) -> Column:
    """A column from its declaration in CREATE or ALTER TABLE."""
    match = DECLARED.match(text)
    if match is None:
        raise Refused(SYNTAX, f"Parse error: Incorrect syntax near '{text}'.")
    name, kind, rest = Reader(match[1]).name(), sql_type(match[2]), match[3]
    collation = COLLATE.search(rest)
    default = DEFAULT.search(rest)
    return Column(
        name, kind, NULLS.search(rest) is None, collation[1] if collation else "", default[1] if default else ""
    )


def column_sql(column: Column) -> str:
    """A column as DuckDB declares it, with what the pool enforces of it."""
    name, said = quoted(column.name), [quoted(column.name), column.kind.duckdb]
    if column.kind.is_text and not CASE_SENSITIVE.search(column.collation):
        said.append("COLLATE NOCASE")  # the collation of a pool unless one is named
    if column.default:
        said.append(f"DEFAULT {column.default.lstrip('Nn') if column.default.endswith(chr(39)) else column.default}")
    if not column.nullable:
        said.append("NOT NULL")
    if column.kind.is_text and column.kind.length > 0:
        said.append(f"CHECK ({UNITS.format(name)} <= {column.kind.length})")
    return " ".join(said)


def _make(session: Session, layout: Layout) -> None:
    columns = ", ".join(column_sql(column) for column in layout.columns)
    if layout.name.is_temporary:
        session.execute(f"CREATE TEMP TABLE {quoted(layout.name.name)} ({columns})")
    else:
        session.execute(f"CREATE TABLE {layout.name.sql} ({columns})")
    session.catalog(layout.name).put(layout)


def _unmake(session: Session, name: Name) -> None:
    session.execute(f"DROP TABLE {name.sql}")
    session.catalog(name).forget(name)


def create_schema(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.name()
    if name.lower() in [schema.lower() for schema in session.pool.schemas()]:
        raise Refused(EXISTS, f"There is already an object named '{name}' in the database.")
    session.execute(f"CREATE SCHEMA {quoted(name)}")
    return NOTHING


def drop_schema(session: Session, reader: Reader, parameters: Parameters) -> Result:
    session.execute(f"DROP SCHEMA {quoted(reader.name())}")
    return NOTHING


def create_view(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.object_name()
    if session.pool.catalog.object_id(name, None) is not None:
        raise Refused(EXISTS, f"There is already an object named '{name.name}' in the database.")
    _define_view(session, name, reader, parameters)
    return NOTHING


def alter_view(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.object_name()
    if session.pool.catalog.object_id(name, "V") is None:
        raise Refused(UNKNOWN_TABLE, f"Invalid object name '{name}'.")
    _define_view(session, name, reader, parameters)
    return NOTHING


def _define_view(session: Session, name: Name, reader: Reader, parameters: Parameters) -> None:
    if parameters:
        raise Refused(SYNTAX, "Parse error: DDL takes no parameters.")
    columns = f" ({reader.bracketed()})" if reader.sees("(") else ""
    reader.take("AS")
    select = reader.rest()
    session.execute(f"CREATE OR REPLACE VIEW {name.sql}{columns} AS {translated(select, {}).sql}")
    session.pool.catalog.views[name.key] = select


def drop_table(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.object_name()
    reader.end()
    session.catalog(name).get(name)
    _unmake(session, name)
    return NOTHING


def drop_view(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.object_name()
    session.execute(f"DROP VIEW {name.sql}")
    session.pool.catalog.forget(name)
    return NOTHING


def truncate(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.object_name()
    session.catalog(name).get(name)
    session.execute(f"DELETE FROM {name.sql}")
    return NOTHING


def rename(session: Session, reader: Reader, parameters: Parameters) -> Result:
    """A view that reads the table is not rewritten: it fails from then on, until the old name is there again."""
    reader.may_take("::")
    name = reader.object_name()
    reader.take("TO")
    new = Name(name.schema, reader.name())
    reader.end()
    session.pool.catalog.get(name)
    if session.pool.catalog.object_id(new, None) is not None:
        raise Refused(EXISTS, f"There is already an object named '{new.name}' in the database.")
    session.execute(f"ALTER TABLE {name.sql} RENAME TO {quoted(new.name)}")
    session.pool.catalog.rename(name, new)
    return NOTHING


def remember(session: Session, reader: Reader, parameters: Parameters) -> Result:
    """What makes no difference to rows."""
    session.pool.catalog.statistics.append(reader.sql)
    return NOTHING


def create_statistics(session: Session, reader: Reader, parameters: Parameters) -> Result:
    called = reader.name()
    reader.take("ON")
    name = reader.object_name()
    layout = session.catalog(name).get(name)
    for column in parts(reader.bracketed()):
        if layout.column(Reader(column).name()) is None:
            raise Refused(UNKNOWN_COLUMN, f"Invalid column name '{Reader(column).name()}'.")
    known = session.catalog(name).named_statistics
    if (name.key, called.lower()) in known:
        raise Refused(1927, f"There are already statistics on table '{name}' named '{called}'.")
    known.add((name.key, called.lower()))
    return remember(session, reader, parameters)


def update_statistics(session: Session, reader: Reader, parameters: Parameters) -> Result:
    name = reader.object_name()
    session.catalog(name).get(name)
    if reader.sees("("):
        called = Reader(reader.bracketed()).name()
        if (name.key, called.lower()) not in session.catalog(name).named_statistics:
            raise Refused(9100, f"There are no statistics on table '{name}' named '{called}'.")
    reader.end()
    return remember(session, reader, parameters)
