"""The tables and views of the embedded warehouse: made at first from the registry, changed since by migrations.

Each migration is one SQL file, by number; what a file of before lacks is run in order, in one transaction. Views hold
nothing, so they are made anew whenever their queries, the platform's version of them, or the home's place change.
"""

import hashlib
from importlib import resources
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.tables import KEPT, USAGE_EVENTS
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles
from usage_analytics.warehouse.duckdb.session import DuckDBSession, create_table
from usage_analytics.warehouse.duckdb.tiers import CLOSED, FRESH, fresh_chunks, give_up, show, view_of_tiers
from usage_analytics.warehouse.marts import VIEWS, view_sql

STATE = "SELECT migration, views FROM warehouse_schema"
TABLES = "SELECT table_name FROM duckdb_tables() WHERE NOT temporary"


def bring_up_to_date(session: DuckDBSession, path: Path, fresh: FreshFiles) -> None:
    """Make what is missing. `UserError` for a warehouse that a newer version of the platform has changed."""
    with session.transaction():
        _make_tables_and_views(session, path, fresh)


def is_as_wanted(path: Path, fresh: FreshFiles, done: int, views: str) -> bool:
    """Whether a warehouse is as this version wants it, by its state; `UserError` if a newer one has changed it."""
    newest = max(_migrations())
    if done > newest:
        raise UserError(
            f"warehouse {path} is of a newer version of the platform (its migration {done}, ours {newest}): upgrade"
        )
    return (done, views) == (newest, fingerprint_of_views(fresh))


def fingerprint_of_views(fresh: FreshFiles) -> str:
    """Of all that the views are made of, besides the list of fresh files."""
    queries = [view_of_tiers(fresh, []), str(fresh.folder), *(view_sql(name) for name in VIEWS)]
    return hashlib.sha256("".join(queries).encode()).hexdigest()[:16]


def _make_tables_and_views(session: DuckDBSession, path: Path, fresh: FreshFiles) -> None:
    migrations, views = _migrations(), fingerprint_of_views(fresh)
    there = {name for (name,) in session.rows(TABLES)}
    done, of_views = (0, "") if "warehouse_schema" not in there else session.rows(STATE)[0]
    if is_as_wanted(path, fresh, done, of_views):
        return
    newest = max(migrations)
    if not there:
        for table in (*KEPT, CLOSED, FRESH):
            if table is not USAGE_EVENTS:
                session.run(create_table(table))
    for number in range(done + 1, newest + 1) if there else ():
        for statement in migrations[number].split(";\n"):
            if statement.strip():
                session.run(statement)
    # A home that was moved may have left files behind, and no view can be made of what is not there.
    give_up(session, fresh, [chunk for chunk in fresh_chunks(session) if not fresh.is_there(chunk.file)])
    show(session, fresh)
    for name in VIEWS:
        session.run(f"CREATE OR REPLACE VIEW {name} AS {view_sql(name)}")
    session.run("CREATE OR REPLACE TABLE warehouse_schema (migration INTEGER NOT NULL, views VARCHAR NOT NULL)")
    session.run("INSERT INTO warehouse_schema VALUES (:number, :views)", {"number": newest, "views": views})


def _migrations() -> dict[int, str]:
    folder = resources.files("usage_analytics.warehouse.duckdb") / "migrations"
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return {int(file.name[:4]): file.read_text(encoding="utf-8") for file in files}
