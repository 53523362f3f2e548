"""The tables and views of the pool: made at first from the registry, changed since by migrations.

The pool takes no DDL within a transaction. So each statement looks first whether its work is done, what the schema is
at is written last, and whoever dies in between leaves what the next one finishes.
"""

import hashlib
from datetime import date
from importlib import resources

from usage_analytics.errors import UserError
from usage_analytics.tables import KEPT, USAGE_EVENTS
from usage_analytics.warehouse.dialects import to_tsql
from usage_analytics.warehouse.marts import VIEWS, view_sql
from usage_analytics.warehouse.protocol import BROUGHT_UP_TO_DATE
from usage_analytics.warehouse.synapse import ddl, tiers
from usage_analytics.warehouse.synapse.session import SynapseSession

STATE = "warehouse_schema"
NOTHING = (0, "")  # the state of a schema that is not there
FIRST_BOUNDARY = date(2010, 1, 1)


def is_up_to_date(session: SynapseSession) -> bool:
    """Whether all is there as this version of the platform wants it; `UserError` if a newer one has changed it."""
    (done, of_views), newest = _state(session), _newest(_migrations())
    if done > newest:
        raise UserError(
            f"schema {session.schema} of the pool is of a newer version of the platform (its migration {done}, ours "
            f"{newest}): upgrade"
        )
    return (done, of_views) == (newest, _fingerprint(_views(session)))


def refuse_unless_up_to_date(session: SynapseSession) -> None:
    """`UserError` that says what to do where questions could not be answered without a change."""
    if is_up_to_date(session):
        return
    if _state(session) == NOTHING:
        raise UserError(f"there is no schema {session.schema} in the pool yet: nothing has been loaded")
    raise UserError(
        f"schema {session.schema} of the pool is of an earlier version of the platform: {BROUGHT_UP_TO_DATE}"
    )


def bring_up_to_date(session: SynapseSession) -> None:
    """Make what is missing, for one process at a time.

    `UserError` for a schema that a newer version of the platform has changed.
    """
    if is_up_to_date(session):
        return
    migrations, views = _migrations(), _views(session)
    newest = _newest(migrations)
    done, _ = _state(session)
    if not done:
        _make_tables(session)
    for number in range(done + 1, newest + 1) if done else ():
        for statement in migrations[number].split(";\n"):
            if statement.strip():
                session.run_natively(statement.replace("{schema}", ddl.bracketed(session.schema)))
    for name, query in views.items():
        place = ddl.text_literal(session.name(name))
        [(there,)] = session.rows_natively(f"SELECT OBJECT_ID({place}, N'V')")  # changed, a view is never away
        session.run_natively(f"{'CREATE' if there is None else 'ALTER'} VIEW {session.name(name)} AS {query}")
    with session.transaction():
        session.run_natively(f"DELETE FROM {session.name(STATE)}")
        values = {"migration": newest, "views": _fingerprint(views)}
        session.run_natively(
            f"INSERT INTO {session.name(STATE)} (migration, views) VALUES (:migration, :views)", values
        )


def _state(session: SynapseSession) -> tuple[int, str]:
    [(there,)] = session.rows_natively(f"SELECT OBJECT_ID({ddl.text_literal(session.name(STATE))}, N'U')")
    rows = session.rows_natively(f"SELECT migration, views FROM {session.name(STATE)}") if there is not None else []
    return (rows[0][0], rows[0][1]) if rows else NOTHING


def _make_tables(session: SynapseSession) -> None:
    schema = ddl.text_literal(f"CREATE SCHEMA {ddl.bracketed(session.schema)}")
    session.run_natively(f"IF SCHEMA_ID({ddl.text_literal(session.schema)}) IS NULL EXEC({schema})")
    first = [FIRST_BOUNDARY]
    made = {
        tiers.FRESH: tiers.create_tier(session, tiers.FRESH, first),
        tiers.CLOSED: tiers.create_tier(session, tiers.CLOSED, first),
        tiers.LONG: tiers.create_long(session),
        tiers.APPENDED: tiers.create_appended(session),
        STATE: f"CREATE TABLE {session.name(STATE)} (migration int NOT NULL, views nvarchar(64) NOT NULL) "
        "WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)",
    }
    for table in KEPT:
        if table is not USAGE_EVENTS:
            made[table.name] = ddl.create_table(session.name(table.name), table.columns, ddl.layout_of(table))
    for name, statement in made.items():
        place = ddl.text_literal(session.name(name))
        session.run_natively(f"IF OBJECT_ID({place}, N'U') IS NULL {statement}")


def _views(session: SynapseSession) -> dict[str, str]:
    of_marts = {name: to_tsql(view_sql(name), session.names) for name in VIEWS}
    return {USAGE_EVENTS.name: tiers.view_of_tiers(session), **of_marts}


def _fingerprint(views: dict[str, str]) -> str:
    return hashlib.sha256("".join(views.values()).encode()).hexdigest()[:16]


def _newest(migrations: dict[int, str]) -> int:
    return max(migrations)


def _migrations() -> dict[int, str]:
    folder = resources.files("usage_analytics.warehouse.synapse") / "migrations"
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return {int(file.name[:4]): file.read_text(encoding="utf-8") for file in files}
