"""The tables and views of the pool: made at first from the registry, changed since by migrations.

The pool takes no DDL within a transaction. So each statement looks first whether its work is done, what the schema is
at is written last, and whoever dies in between leaves what the next one finishes.
"""

from datetime import date

from usage_analytics.errors import UserError
from usage_analytics.tables import KEPT, USAGE_EVENTS
from usage_analytics.warehouse.dialects import to_tsql
from usage_analytics.warehouse.marts import VIEWS, view_sql
from usage_analytics.warehouse.migrations import NOTHING, SchemaState, migrations_of
from usage_analytics.warehouse.protocol import BROUGHT_UP_TO_DATE
from usage_analytics.warehouse.synapse import ddl, tiers
from usage_analytics.warehouse.synapse.session import SynapseSession

PACKAGE, STATES = "usage_analytics.warehouse.synapse", "warehouse_schema"
FIRST_BOUNDARY = date(2010, 1, 1)


def is_up_to_date(session: SynapseSession) -> bool:
    """Whether all is there as this version of the platform wants it; `UserError` if a newer one has changed it."""
    return _state(session).is_as(_wanted(_views(session)), _place(session))


def refuse_unless_up_to_date(session: SynapseSession) -> None:
    """`UserError` that says what to do where questions could not be answered without a change."""
    if is_up_to_date(session):
        return
    if _state(session) == NOTHING:
        raise UserError(f"there is no {_place(session)} yet: nothing has been loaded")
    raise UserError(f"{_place(session)} is of an earlier version of the platform: {BROUGHT_UP_TO_DATE}")


def bring_up_to_date(session: SynapseSession) -> None:
    """Make what is missing, for one process at a time.

    `UserError` for a schema that a newer version of the platform has changed.
    """
    state, views = _state(session), _views(session)
    wanted = _wanted(views)
    if state.is_as(wanted, _place(session)):
        return
    if state == NOTHING:
        _make_tables(session)
    for statement in migrations_of(PACKAGE).statements_after(state.migration) if state != NOTHING else ():
        session.run_natively(statement.replace("{schema}", ddl.bracketed(session.schema)))
    for name, query in views.items():
        place = ddl.text_literal(session.name(name))
        [(there,)] = session.rows_natively(f"SELECT OBJECT_ID({place}, N'V')")  # changed, a view is never away
        session.run_natively(f"{'CREATE' if there is None else 'ALTER'} VIEW {session.name(name)} AS {query}")
    with session.transaction():
        session.run_natively(f"DELETE FROM {session.name(STATES)}")
        session.run_natively(
            f"INSERT INTO {session.name(STATES)} (migration, views) VALUES (:migration, :views)", vars(wanted)
        )


def _place(session: SynapseSession) -> str:
    return f"schema {session.schema} in the pool"


def _state(session: SynapseSession) -> SchemaState:
    states = session.name(STATES)
    [(there,)] = session.rows_natively(f"SELECT OBJECT_ID({ddl.text_literal(states)}, N'U')")
    rows = session.rows_natively(f"SELECT migration, views FROM {states}") if there is not None else []
    return SchemaState(*rows[0]) if rows else NOTHING


def _wanted(views: dict[str, str]) -> SchemaState:
    return migrations_of(PACKAGE).wanted(views.values())


def _make_tables(session: SynapseSession) -> None:
    schema = ddl.text_literal(f"CREATE SCHEMA {ddl.bracketed(session.schema)}")
    session.run_natively(f"IF SCHEMA_ID({ddl.text_literal(session.schema)}) IS NULL EXEC({schema})")
    first = [FIRST_BOUNDARY]
    made = {
        tiers.FRESH: tiers.create_tier(session, tiers.FRESH, first),
        tiers.CLOSED: tiers.create_tier(session, tiers.CLOSED, first),
        tiers.LONG: tiers.create_long(session),
        tiers.APPENDED: tiers.create_appended(session),
        STATES: f"CREATE TABLE {session.name(STATES)} (migration int NOT NULL, views nvarchar(64) NOT NULL) "
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
