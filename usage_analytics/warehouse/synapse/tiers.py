"""Where usage events lie in the pool: three tables behind one view.

*Fresh* rows are in a heap, spread evenly, as quick to load as can be; *closed* ones in a clustered columnstore, spread
by user; *long* rows, whose properties no columnstore takes, in a heap of their own for good. Fresh and closed are
partitioned by trading day: a query of a day reads that day, and a day is replaced by SWITCH, which copies nothing.

A row is in one of the three, at every moment: the view has nothing to decide. A row's ``load_id`` says which load
brought it.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from usage_analytics.tables import DAY, EVENT_COLUMNS, OF_CHUNK, USAGE_EVENTS, Table, bigint
from usage_analytics.warehouse.synapse import ddl
from usage_analytics.warehouse.synapse.session import TIERS, SynapseSession

FRESH, CLOSED, LONG = TIERS
STAGING, CLOSING = (f"usage_events_{name}" for name in ("staging", "closing"))
APPENDED = "usage_events_appended"  # trading days that rows were appended to since they were laid out
COLUMNS = (*OF_CHUNK, bigint("load_id"), *EVENT_COLUMNS)
NAMES = [column.name for column in COLUMNS]
TABLES = tuple(Table(tier, COLUMNS, USAGE_EVENTS.key, by_day=True) for tier in TIERS)
LONGEST = 4_000  # characters of a text that a columnstore takes
IS_LONG = f"DATALENGTH([properties]) > {2 * LONGEST}"  # bytes, two for each UTF-16 unit
IS_SHORT = f"([properties] IS NULL OR DATALENGTH([properties]) <= {2 * LONGEST})"
SPREAD = {
    FRESH: "DISTRIBUTION = ROUND_ROBIN, HEAP",
    CLOSED: "DISTRIBUTION = HASH([user_id]), CLUSTERED COLUMNSTORE INDEX",
}
BOUNDARIES = """
SELECT CAST(v.value AS date) FROM sys.partition_range_values AS v
JOIN sys.partition_schemes AS s ON s.function_id = v.function_id
JOIN sys.indexes AS i ON i.data_space_id = s.data_space_id
WHERE i.object_id = OBJECT_ID({name}) AND i.index_id <= 1
"""


def create_tier(session: SynapseSession, tier: str, days: Sequence[date]) -> str:
    """The statement that makes a tier, with boundaries at these days."""
    layout = f"{SPREAD[tier]}, {ddl.partitions(days)}"
    return ddl.create_table(session.name(tier), COLUMNS, layout, {"properties": LONGEST})


def create_appended(session: SynapseSession) -> str:
    return ddl.create_table(session.name(APPENDED), (DAY,), SPREAD[FRESH])


def create_long(session: SynapseSession) -> str:
    return ddl.create_table(session.name(LONG), COLUMNS, SPREAD[FRESH], {"properties": ddl.UNBOUNDED})


def copy_of_closed_day(session: SynapseSession, day: date) -> str:
    """The statement that makes a copy of a closed day, of the closed tier's shape and with its boundaries.

    Plain columns of one table, so that types, collations and nullability are the tier's: SWITCH wants them the same.
    """
    layout = f"{SPREAD[CLOSED]}, {ddl.partitions(boundaries(session, CLOSED))}"
    names = ", ".join(f"[{name}]" for name in NAMES)
    select = f"SELECT {names} FROM {session.name(CLOSED)} WHERE [trading_day] = {ddl.day_literal(day)}"
    label = ddl.text_literal(f"usage_analytics: close trading day {day}")
    return f"CREATE TABLE {session.name(CLOSING)} WITH ({layout}) AS {select} OPTION (LABEL = {label})"


def view_of_tiers(session: SynapseSession) -> str:
    """The query of the view `usage_events`."""
    listed = ", ".join(f"[{name}]" for name in NAMES if name != "load_id")
    return " UNION ALL ".join(f"SELECT {listed} FROM {session.name(tier)}" for tier in TIERS)


def boundaries(session: SynapseSession, tier: str) -> list[date]:
    """The days at which a tier is cut, ascending: partition n is from the (n-1)th of them on."""
    name = ddl.text_literal(session.name(tier))
    return sorted(day for (day,) in session.rows_natively(BOUNDARIES.replace("{name}", name)))


def make_room(session: SynapseSession, days: Sequence[date]) -> None:
    """See to it that each of these days has a partition of its own in both tiers.

    A partition is split only where it is empty: before a day's first row comes, the day is cut out.
    """
    wanted = {edge for day in days for edge in (day, day + timedelta(days=1))}
    for tier in (FRESH, CLOSED):
        for edge in sorted(wanted - set(boundaries(session, tier))):
            session.run_natively(f"ALTER TABLE {session.name(tier)} SPLIT RANGE ({ddl.day_literal(edge)})")
