"""The tables and views of the embedded warehouse: made at first from the registry, changed since by migrations.

What a file of before lacks is run in one transaction. Views hold nothing, so they are made anew whenever their queries,
the platform's version of them, or the home's place change.
"""

from pathlib import Path

from usage_analytics.tables import KEPT, USAGE_EVENTS
from usage_analytics.warehouse.duckdb.closing import close_files_of_before
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles
from usage_analytics.warehouse.duckdb.session import DuckDBSession, create_table
from usage_analytics.warehouse.duckdb.tiers import CLOSED, FRESH, fresh_chunks, give_up, show, view_of_tiers
from usage_analytics.warehouse.marts import VIEWS, view_sql
from usage_analytics.warehouse.migrations import NOTHING, SchemaState, migrations_of

PACKAGE, STATES = "usage_analytics.warehouse.duckdb", "warehouse_schema"
STATE = f"SELECT migration, views FROM {STATES}"
TABLES = "SELECT table_name FROM duckdb_tables() WHERE NOT temporary"


def bring_up_to_date(session: DuckDBSession, path: Path, fresh: FreshFiles) -> None:
    """Make what is missing. `UserError` for a warehouse that a newer version of the platform has changed."""
    with session.transaction():
        _make_tables_and_views(session, path, fresh)


def wanted_of(fresh: FreshFiles) -> SchemaState:
    """The state of a warehouse that is as this version wants it, where it lies; the list of fresh files is no part."""
    queries = (view_of_tiers(fresh, []), str(fresh.folder), *(view_sql(name) for name in VIEWS))
    return migrations_of(PACKAGE).wanted(queries)


def place_of(path: Path) -> str:
    return f"warehouse {path}"


def _make_tables_and_views(session: DuckDBSession, path: Path, fresh: FreshFiles) -> None:
    there = {name for (name,) in session.rows(TABLES)}
    state, wanted = NOTHING if STATES not in there else SchemaState(*session.rows(STATE)[0]), wanted_of(fresh)
    if state.is_as(wanted, place_of(path)):
        return
    if not there:
        for table in (*KEPT, CLOSED, FRESH):
            if table is not USAGE_EVENTS:
                session.run(create_table(table))
    for statement in migrations_of(PACKAGE).statements_after(state.migration) if there else ():
        session.run(statement)
    # A home that was moved may have left files behind, and no view can be made of what is not there.
    chunks = fresh_chunks(session)
    lost = [chunk for chunk in chunks if not fresh.is_there(chunk.file)]
    lost += close_files_of_before(session, fresh, [chunk for chunk in chunks if chunk not in lost])
    give_up(session, fresh, lost)
    show(session, fresh)
    for name in VIEWS:
        session.run(f"CREATE OR REPLACE VIEW {name} AS {view_sql(name)}")
    session.run(f"CREATE OR REPLACE TABLE {STATES} (migration INTEGER NOT NULL, views VARCHAR NOT NULL)")
    session.run(f"INSERT INTO {STATES} VALUES (:migration, :views)", vars(wanted))
