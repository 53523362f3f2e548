"""Answers what people ask in T-SQL: only a query is sent, and it finds the platform's tables by their names."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any

import pyarrow as pa
import sqlglot
from sqlalchemy.exc import DBAPIError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from usage_analytics.errors import UserError
from usage_analytics.warehouse.dialects import rename_tables
from usage_analytics.warehouse.synapse.session import SynapseSession

BATCH_ROWS = 10_000
# By what the driver makes of the pool's types; all others are shown as texts.
ARROW = {
    bool: pa.bool_(), int: pa.int64(), float: pa.float64(), date: pa.date32(), datetime: pa.timestamp("us"),
    time: pa.time64("us"), bytes: pa.binary(), bytearray: pa.binary(),
}  # fmt: skip


@contextmanager
def answered(session: SynapseSession, question: str) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query, in batches; a column without a name is called by its place, `column_1` and so on.

    `UserError` for what is no query that can be answered.
    """
    tree = _query(question)
    rename_tables(tree, session.names)
    try:
        # Written anew from what was understood: to the pool, `SELECT 1 DELETE FROM t` is two statements.
        described, rows = session.stream(tree.sql(dialect="tsql"))
        schema = _schema(described)
        yield pa.RecordBatchReader.from_batches(schema, _batches(schema, rows))
    except DBAPIError as error:
        raise UserError(f"the warehouse cannot answer: {error.orig}") from None


def _query(question: str) -> exp.Query:
    try:
        statements = [each for each in sqlglot.parse(question, read="tsql") if each is not None]
    except SqlglotError as error:
        raise UserError(f"that is no T-SQL: {error}") from None
    if len(statements) != 1:
        raise UserError("ask one query at a time")
    [tree] = statements
    if not isinstance(tree, exp.Query) or tree.find(exp.Into):
        raise UserError("that is no query, and questions change nothing")
    return tree


def _schema(described: Sequence[Sequence[Any]]) -> pa.Schema:
    """Of the columns as the driver describes them: name, type of Python, two sizes, precision, scale."""
    fields = []
    for number, (name, kind, _, _, precision, scale, *_) in enumerate(described, start=1):
        of_arrow = pa.decimal128(precision, scale) if kind is Decimal else ARROW.get(kind, pa.string())
        fields.append(pa.field(name or f"column_{number}", of_arrow))
    return pa.schema(fields)


def _batches(schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, BATCH_ROWS)):
        arrays = [
            _array(cells, of_arrow) for cells, of_arrow in zip(zip(*some, strict=True), schema.types, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(cells: Sequence[Any], of_arrow: pa.DataType) -> pa.Array:
    shown = [cell if cell is None else str(cell) for cell in cells] if of_arrow == pa.string() else cells
    return pa.array(shown, of_arrow)
