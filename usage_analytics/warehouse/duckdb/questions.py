"""Answers questions that people ask in SQL: nothing in the file, and nothing beside it, can be changed by them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.lake.literal_paths import for_duckdb
from usage_analytics.warehouse.duckdb.file import fresh_of, lost_file
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles
from usage_analytics.warehouse.duckdb.schema import STATE, place_of, wanted_of
from usage_analytics.warehouse.duckdb.waiting import once_free
from usage_analytics.warehouse.migrations import SchemaState
from usage_analytics.warehouse.protocol import BROUGHT_UP_TO_DATE

BATCH_ROWS = 10_000
# Files besides the fresh ones, other databases and settings are none of a question's business.
CONFINED = ("SET enable_progress_bar = false", "SET enable_external_access = false", "SET lock_configuration = true")


@contextmanager
def answered(path: Path, question: str, wait_s: float, memory_mb: int) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query, in batches. `UserError` for what is no query that can be answered."""
    if not path.exists():
        raise UserError(f"there is no warehouse {path} yet: nothing has been loaded")
    fresh = fresh_of(path)
    if not _up_to_date(path, fresh, wait_s, memory_mb):
        raise UserError(
            f"warehouse {path} is of an earlier version of the platform, or was moved: {BROUGHT_UP_TO_DATE}"
        )
    connection = _opened(path, wait_s, memory_mb)
    try:
        # As the view names it, and as it is called: they differ where its path has signs of a pattern.
        folders = [for_duckdb(fresh.folder), str(fresh.folder)]
        connection.execute("SET allowed_directories = ?", [folders])
        for statement in CONFINED:
            connection.execute(statement)
        statements = connection.extract_statements(question)
        if len(statements) != 1:
            raise UserError("ask one query at a time")
        if statements[0].type != duckdb.StatementType.SELECT:  # others could write into the folder of fresh files
            raise UserError("that is no query, and questions change nothing")
        # Whoever keeps the reader, a traceback for one, would keep DuckDB open: this process would wait for itself when
        # it next asks, for ever.
        with connection.sql(question).to_arrow_reader(BATCH_ROWS) as answer:
            yield answer
    except duckdb.Error as error:
        if lost := lost_file(path, str(error)):
            raise lost from None
        raise UserError(f"the warehouse cannot answer: {error}") from None
    finally:
        connection.close()


def _up_to_date(path: Path, fresh: FreshFiles, wait_s: float, memory_mb: int) -> bool:
    # The view names the fresh files where they lay when it was made: a home that was moved has them elsewhere.
    connection = _opened(path, wait_s, memory_mb)
    try:
        state = connection.execute(STATE).fetchall()
    except duckdb.CatalogException:
        return False
    finally:
        connection.close()
    return len(state) == 1 and SchemaState(*state[0]).is_as(wanted_of(fresh), place_of(path))


def _opened(path: Path, wait_s: float, memory_mb: int) -> duckdb.DuckDBPyConnection:
    config = {"memory_limit": f"{memory_mb}MB", "temp_directory": f"{path}.spill"}
    try:
        return once_free(path, wait_s, lambda: duckdb.connect(str(path), read_only=True, config=config))
    except duckdb.Error as error:
        why = str(error).partition("\n")[0]
        raise UserError(f"warehouse {path} cannot be used: {why}") from None
