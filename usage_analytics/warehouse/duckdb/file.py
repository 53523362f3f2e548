"""Opens the embedded warehouse's file: waits while another process has it, and tells of a damaged one in a sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from usage_analytics.errors import UserError
from usage_analytics.lake.literal_paths import for_duckdb
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles
from usage_analytics.warehouse.duckdb.schema import bring_up_to_date
from usage_analytics.warehouse.duckdb.session import DuckDBSession
from usage_analytics.warehouse.duckdb.waiting import once_free

DISK_FULL = "No space left on device"  # found out at a commit, it is told as a failure of the transaction
# What DuckDB says of a file that it cannot make sense of; of a full disk or a missing permission it speaks otherwise.
SIGNS_OF_DAMAGE = ("orrupt", "not a valid DuckDB", "Could not read enough bytes", "version number")

SIGNS_OF_LITTLE_MEMORY = ("Out of Memory", "failed to pin block", "failed to allocate")


@contextmanager
def opened(path: Path, wait_s: float, memory_mb: int) -> Iterator[DuckDBSession]:
    """A session of the warehouse in a file, with all its tables.

    UserError: a file that is damaged or cannot be opened; `WarehouseInUse`: for longer than ``wait_s``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    spill = {"memory_limit": f"{memory_mb}MB", "temp_directory": f"{path}.spill"}
    engine = create_engine(URL.create("duckdb", database=str(path)), poolclass=NullPool, connect_args={"config": spill})
    with _damage_told(path, memory_mb), once_free(path, wait_s, engine.connect) as connection:
        connection.execute(text("SET enable_progress_bar = false"))  # it would write into the middle of a run's output
        connection.execute(text("SET preserve_insertion_order = false"))  # nobody reads by it, and it costs memory
        connection.execute(text("CREATE TEMPORARY MACRO fingerprint(a, b) AS hash(a, b)"))
        connection.commit()
        session = DuckDBSession(connection, memory_mb)
        bring_up_to_date(session, path, fresh_of(path))
        yield session


def fresh_of(path: Path) -> FreshFiles:
    """The fresh files of the warehouse in a file."""
    return FreshFiles(Path(f"{path.resolve()}.fresh"))


def rebuild(path: Path) -> str:
    """How a warehouse is made again from the lake."""
    made_again = "loaded_events of all windows, then the marts, model and plan of all trading days"
    return f"move {path} away and materialize {made_again}"


def lost_file(path: Path, why: str) -> UserError | None:
    """What to tell where a query failed because a fresh file is gone or damaged; None where it failed otherwise."""
    fresh = fresh_of(path)
    folders = "|".join(re.escape(each) for each in (str(fresh.folder), for_duckdb(fresh.folder)))
    named = re.search(rf"(?:{folders})/(load_window=([^/]+)/.*?\.parquet)", why)
    damage = fresh.damage(named[1]) if named else ""
    if named is None or not damage:
        return None
    remedy = f"materialize loaded_events of window {named[2]}"
    return UserError(f"warehouse {path}: {fresh.folder / named[1]} is damaged ({damage}): {remedy}")


@contextmanager
def _damage_told(path: Path, memory_mb: int) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, duckdb.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        why = str(cause).partition("\n")[0]
        if any(sign in why for sign in SIGNS_OF_LITTLE_MEMORY):
            more = "set USAGE_ANALYTICS_WAREHOUSE_MEMORY to more megabytes"
            raise UserError(f"warehouse {path} needs more memory than the {memory_mb} MB it may take: {more}") from None
        if lost := lost_file(path, str(cause)):
            raise lost from None
        ruined = isinstance(cause, duckdb.FatalException | duckdb.InternalException | duckdb.SerializationException)
        if ruined or any(sign in why for sign in SIGNS_OF_DAMAGE):
            raise UserError(f"warehouse {path} is damaged: {rebuild(path)} ({why})") from None
        if isinstance(cause, duckdb.IOException) or DISK_FULL in why:
            raise UserError(f"warehouse {path} cannot be used: {why}") from None
        raise
