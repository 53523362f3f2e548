"""Answers what people ask in T-SQL: only a query is sent, and it finds the platform's tables by their names."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa
import sqlglot
from sqlalchemy.exc import DBAPIError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from usage_analytics.errors import UserError
from usage_analytics.warehouse.dialects import rename_tables
from usage_analytics.warehouse.synapse.session import SynapseSession

BATCH_ROWS = 10_000


@contextmanager
def answered(session: SynapseSession, question: str) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query, in batches. `UserError` for what is no query that can be answered."""
    try:
        statements = [each for each in sqlglot.parse(question, read="tsql") if each is not None]
    except SqlglotError as error:
        raise UserError(f"that is no T-SQL: {error}") from None
    if len(statements) != 1:
        raise UserError("ask one query at a time")
    [tree] = statements
    if not isinstance(tree, exp.Query) or tree.find(exp.Into):
        raise UserError("that is no query, and questions change nothing")
    rename_tables(tree, session.names)
    try:
        names, rows = session.stream(tree.sql(dialect="tsql"))
        first = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in islice(rows, BATCH_ROWS)])
        schema = first.schema if first.num_rows else pa.schema([(name, pa.string()) for name in names])

        def batches() -> Iterator[pa.RecordBatch]:
            yield from first.to_batches()
            while some := list(islice(rows, BATCH_ROWS)):
                yield from pa.Table.from_pylist(
                    [dict(zip(names, row, strict=True)) for row in some], schema
                ).to_batches()

        yield pa.RecordBatchReader.from_batches(schema, batches())
    except DBAPIError as error:
        raise UserError(f"the warehouse cannot answer: {error.orig}") from None
