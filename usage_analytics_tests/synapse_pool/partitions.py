"""ALTER TABLE: columns that are added, partitions that are split, merged or switched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from usage_analytics_tests.synapse_pool import ddl
from usage_analytics_tests.synapse_pool.catalog import Column, Layout, Partitions
from usage_analytics_tests.synapse_pool.errors import NOT_EMPTY, NOT_SWITCHABLE, SPLIT_NOT_EMPTY, SYNTAX, Refused
from usage_analytics_tests.synapse_pool.layouts import boundary, partition_of, rows_in
from usage_analytics_tests.synapse_pool.results import NOTHING, Result
from usage_analytics_tests.synapse_pool.translating import Parameters
from usage_analytics_tests.synapse_pool.words import Name, Reader, quoted

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.sessions import Session


def alter_table(session: Session, reader: Reader, parameters: Parameters) -> Result:
    layout = session.pool.catalog.get(reader.object_name())
    if reader.may_take("ADD"):
        return _add(session, layout, ddl.column_of(reader.rest()))
    if reader.may_take("SPLIT", "RANGE"):
        return _split(session, layout, reader.bracketed())
    if reader.may_take("MERGE", "RANGE"):
        return _merge(session, layout, reader.bracketed())
    if reader.may_take("SWITCH"):
        return _switch(session, layout, reader)
    if reader.may_take("REBUILD"):
        return _rebuild(session, layout, reader)
    raise reader.unexpected()


def _rebuild(session: Session, layout: Layout, reader: Reader) -> Result:
    if reader.may_take("PARTITION", "="):
        rows_in(layout, _number(reader))
    reader.end()
    return ddl.remember(session, reader, {})


def _add(session: Session, layout: Layout, column: Column) -> Result:
    if not column.nullable and not column.default:
        raise Refused(4901, f"ALTER TABLE only allows columns to be added that can contain nulls: '{column.name}'.")
    # DuckDB adds no column with a constraint: a table of the new shape takes the rows over.
    changed = replace(layout, columns=(*layout.columns, column))
    kept = Name(layout.name.schema, f"{layout.name.name}__before")
    names = ", ".join(quoted(one.name) for one in layout.columns)
    session.execute("BEGIN TRANSACTION")
    try:
        session.execute(f"ALTER TABLE {layout.name.sql} RENAME TO {quoted(kept.name)}")
        session.execute(f"CREATE TABLE {layout.name.sql} ({', '.join(map(ddl.column_sql, changed.columns))})")
        session.execute(f"INSERT INTO {layout.name.sql} ({names}) SELECT {names} FROM {kept.sql}")
        session.execute(f"DROP TABLE {kept.sql}")
        session.execute("COMMIT")
    except Exception:
        session.execute("ROLLBACK")
        raise
    session.pool.catalog.put(changed)
    return NOTHING


def _parted(layout: Layout) -> Partitions:
    if layout.partitions is None:
        raise Refused(7729, f"Table '{layout.name}' is not partitioned.")
    return layout.partitions


def _edge(layout: Layout, text: str) -> object:
    column = layout.column(_parted(layout).column)
    assert column is not None
    return boundary(text, column.kind)


def _has_rows(session: Session, layout: Layout, number: int) -> bool:
    return bool(session.execute(f"SELECT 1 FROM {layout.name.sql} WHERE {rows_in(layout, number)} LIMIT 1"))


def _split(session: Session, layout: Layout, text: str) -> Result:
    parted, edge = _parted(layout), _edge(layout, text)
    if edge in parted.boundaries:
        raise Refused(7721, "Duplicate range boundary values are not allowed in partition function boundary values.")
    if layout.is_columnstore and _has_rows(session, layout, partition_of(parted, edge)):
        raise Refused(
            SPLIT_NOT_EMPTY,
            "SPLIT clause of ALTER PARTITION statement failed because the partition is not empty. "
            "Only empty partitions can be split in when a columnstore index exists on the table.",
        )
    boundaries = tuple(sorted((*parted.boundaries, edge)))  # type: ignore[type-var]
    session.pool.catalog.put(replace(layout, partitions=replace(parted, boundaries=boundaries)))
    return NOTHING


def _merge(session: Session, layout: Layout, text: str) -> Result:
    parted, edge = _parted(layout), _edge(layout, text)
    if edge not in parted.boundaries:
        raise Refused(7715, f"The specified partition range value could not be found: {text}.")
    number = 1 + parted.boundaries.index(edge)
    if layout.is_columnstore and (_has_rows(session, layout, number) or _has_rows(session, layout, number + 1)):
        raise Refused(35347, "MERGE clause of ALTER PARTITION failed: two partitions on the boundary must be empty.")
    boundaries = tuple(one for one in parted.boundaries if one != edge)
    session.pool.catalog.put(replace(layout, partitions=replace(parted, boundaries=boundaries)))
    return NOTHING


def _switch(session: Session, source: Layout, reader: Reader) -> Result:
    number = _number(reader) if reader.may_take("PARTITION") else 1
    reader.take("TO")
    target = session.pool.catalog.get(reader.object_name())
    other = _number(reader) if reader.may_take("PARTITION") else 1
    truncate = False
    if reader.may_take("WITH"):
        truncate = Reader(reader.bracketed()).words[-1].upper == "ON"
    reader.end()
    if reason := _difference(source, target):
        raise Refused(NOT_SWITCHABLE, f"ALTER TABLE SWITCH statement failed: {source.name} and {target.name} {reason}.")
    if rows_in(source, number) != rows_in(target, other):
        raise Refused(NOT_SWITCHABLE, f"ALTER TABLE SWITCH statement failed: partitions {number}, {other} differ.")
    if not truncate and _has_rows(session, target, other):
        raise Refused(NOT_EMPTY, f"ALTER TABLE SWITCH failed. Partition {other} of '{target.name}' must be empty.")
    session.execute("BEGIN TRANSACTION")
    try:
        session.execute(f"DELETE FROM {target.name.sql} WHERE {rows_in(target, other)}")
        session.execute(
            f"INSERT INTO {target.name.sql} SELECT * FROM {source.name.sql} WHERE {rows_in(source, number)}"
        )
        session.execute(f"DELETE FROM {source.name.sql} WHERE {rows_in(source, number)}")
        session.execute("COMMIT")
    except Exception:
        session.execute("ROLLBACK")
        raise
    return NOTHING


def _number(reader: Reader) -> int:
    word = reader.next()
    if not word.text.isdecimal():
        raise Refused(SYNTAX, f"Parse error: a partition's number was expected, not '{word.text}'.")
    return int(word.text)


def _difference(source: Layout, target: Layout) -> str:
    """Why rows cannot be switched from one table to the other; empty if they can."""
    if len(source.columns) != len(target.columns):
        return f"have {len(source.columns)} and {len(target.columns)} columns"
    for mine, theirs in zip(source.columns, target.columns, strict=True):
        if mine.name.lower() != theirs.name.lower():
            return f"have columns '{mine.name}' and '{theirs.name}' in one place"
        if (mine.kind, mine.collation.lower()) != (theirs.kind, theirs.collation.lower()):
            return f"have the types {mine.kind} and {theirs.kind} in column '{mine.name}'"
        if mine.nullable != theirs.nullable:
            return f"differ in the nulls of column '{mine.name}'"
    if source.distribution != target.distribution:
        return f"are distributed by {source.distribution} and {target.distribution}"
    if source.index != target.index:
        return f"have the indexes {source.index} and {target.index}"
    if source.partitions != target.partitions:
        return "have other partition boundaries"
    return ""
