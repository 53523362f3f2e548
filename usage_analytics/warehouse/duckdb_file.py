"""Opens the embedded warehouse's file: waits while another process has it, and tells of a damaged one in a sentence."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import duckdb
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from usage_analytics.errors import UserError
from usage_analytics.warehouse.protocol import WarehouseInUse

IN_USE = "Could not set lock"
DISK_FULL = "No space left on device"  # found out at a commit, it is told as a failure of the transaction
# What DuckDB says of a file that it cannot make sense of; of a full disk or a missing permission it speaks otherwise.
SIGNS_OF_DAMAGE = ("orrupt", "not a valid DuckDB", "Could not read enough bytes", "version number")

SIGNS_OF_LITTLE_MEMORY = ("Out of Memory", "failed to pin block", "failed to allocate")


@contextmanager
def opened(path: Path, wait_s: float, memory_limit: str) -> Iterator[Connection]:
    """A connection to the warehouse in a file, with all its tables.

    UserError: a file that is damaged or cannot be opened; `WarehouseInUse`: for longer than ``wait_s``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    spill = {"memory_limit": memory_limit, "temp_directory": f"{path}.spill"}
    engine = create_engine(URL.create("duckdb", database=str(path)), poolclass=NullPool, connect_args={"config": spill})
    with _damage_told(path, memory_limit), _patiently(path, wait_s, engine.connect) as connection:
        connection.execute(text("SET enable_progress_bar = false"))  # it would write into the middle of a run's output
        for statement in sql("schema").split(";\n"):
            connection.execute(text(statement))
        connection.commit()
        yield connection


def sql(name: str) -> str:
    """The text of one of the package's SQL files."""
    return (resources.files("usage_analytics.warehouse") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def rebuild(path: Path) -> str:
    """How a warehouse is made again from the lake."""
    made_again = "loaded_events of all windows, then the marts, model and plan of all trading days"
    return f"move {path} away and materialize {made_again}"


def _patiently(path: Path, wait_s: float, connect: Callable[[], Connection]) -> Connection:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return connect()
        except DBAPIError as error:
            if IN_USE not in str(error.orig):
                raise
            if time.monotonic() > deadline:
                raise WarehouseInUse(f"warehouse {path} has been in use for {wait_s:g} s: {error.orig}") from None
            time.sleep(0.1)


@contextmanager
def _damage_told(path: Path, memory_limit: str) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, duckdb.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        why = str(cause).partition("\n")[0]
        if any(sign in why for sign in SIGNS_OF_LITTLE_MEMORY):
            more = "set USAGE_ANALYTICS_WAREHOUSE_MEMORY to more megabytes"
            raise UserError(f"warehouse {path} needs more memory than the {memory_limit} it may take: {more}") from None
        ruined = isinstance(cause, duckdb.FatalException | duckdb.InternalException | duckdb.SerializationException)
        if ruined or any(sign in why for sign in SIGNS_OF_DAMAGE):
            raise UserError(f"warehouse {path} is damaged: {rebuild(path)} ({why})") from None
        if isinstance(cause, duckdb.IOException) or DISK_FULL in why:
            raise UserError(f"warehouse {path} cannot be used: {why}") from None
        raise
