"""Where usage events lie in the pool: three tables behind one view.

*Fresh* rows are in a heap, spread evenly, as quick to load as can be; *closed* trading days in a clustered columnstore,
spread by user; *long* rows, whose properties no columnstore takes, in a heap of their own for good. Fresh and closed
are partitioned by trading day, so that a day moves by SWITCH, which copies nothing.

A row's ``load_id`` says which load brought it. The view passes over fresh rows of loads that the closed tier has for
that day: from the one statement that switches a day in, no row shows twice or not at all, whenever we die.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from usage_analytics.tables import EVENT_COLUMNS, OF_CHUNK, bigint
from usage_analytics.warehouse.synapse import ddl
from usage_analytics.warehouse.synapse.session import TIERS, SynapseSession

FRESH, CLOSED, LONG = TIERS
STAGING, CLOSING, OUT = (f"usage_events_{name}" for name in ("staging", "closing", "out"))
COLUMNS = (*OF_CHUNK, bigint("load_id"), *EVENT_COLUMNS)
NAMES = [column.name for column in COLUMNS]
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


def create_tier(session: SynapseSession, tier: str, days: Sequence[date], name: str | None = None) -> str:
    """The statement that makes a tier, or a table of its shape, with boundaries at these days."""
    layout = f"{SPREAD[tier]}, {ddl.partitions(days)}"
    return ddl.create_table(session.name(name or tier), COLUMNS, layout, {"properties": LONGEST})


def create_long(session: SynapseSession) -> str:
    return ddl.create_table(session.name(LONG), COLUMNS, SPREAD[FRESH], {"properties": ddl.UNBOUNDED})


def view_of_tiers(session: SynapseSession) -> str:
    """The query of the view `usage_events`."""
    names = [name for name in NAMES if name != "load_id"]
    listed = ", ".join(f"[{name}]" for name in names)
    tables = (session.name(CLOSED), session.name(LONG))
    return " UNION ALL ".join([*(f"SELECT {listed} FROM {table}" for table in tables), visible_fresh(session, names)])


def visible_fresh(session: SynapseSession, names: Sequence[str]) -> str:
    """The query of the fresh rows that are not in the closed tier yet; ``f`` is their table."""
    listed = ", ".join(f"f.[{name}]" for name in names)
    same = "c.[trading_day] = f.[trading_day] AND c.[load_id] = f.[load_id]"
    there = f"SELECT 1 FROM {session.name(CLOSED)} AS c WHERE {same}"
    return f"SELECT {listed} FROM {session.name(FRESH)} AS f WHERE NOT EXISTS ({there})"


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
