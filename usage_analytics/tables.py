"""Every table of the warehouse, defined once: Arrow schemas, each engine's DDL and bulk loads come from here.

Instants are whole microseconds since 1970 in UTC, in every engine: Synapse takes no Parquet timestamps of that
precision (Microsoft, "Design ELT: Parquet types").
"""

from dataclasses import dataclass
from enum import Enum

import pyarrow as pa


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    INT = "int"
    BIGINT = "bigint"
    DOUBLE = "double"
    DATE = "date"
    SUM = "sum"  # of whole numbers, however many: 38 decimal digits


ARROW = {
    Kind.TEXT: pa.string(),
    Kind.INT: pa.int32(),
    Kind.BIGINT: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.DATE: pa.date32(),
    Kind.SUM: pa.decimal128(38, 0),
}


@dataclass(frozen=True)
class Column:
    """A column; ``length``: the most characters of a text that every engine can hold."""

    name: str
    kind: Kind
    nullable: bool = False
    length: int = 0


@dataclass(frozen=True)
class Table:
    """A table; ``key``: the columns that name a row, proved by queries where an engine does not enforce keys.

    ``spread_by``: the column by whose hash an MPP engine spreads rows over its nodes; none where rows go round all of
    them, because a few values of any column have most rows. ``by_day``: rows are kept, replaced and dropped by trading
    day, and lie together by it where the engine can do so.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    spread_by: str | None = None
    by_day: bool = False

    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


def text(name: str, length: int, nullable: bool = False) -> Column:
    return Column(name, Kind.TEXT, nullable, length)


def bigint(name: str, nullable: bool = False) -> Column:
    return Column(name, Kind.BIGINT, nullable)


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The columns as Arrow has them; a nullable one is so there too."""
    return pa.schema([pa.field(column.name, ARROW[column.kind], nullable=column.nullable) for column in columns])


DAY, USER, APP = Column("trading_day", Kind.DATE), text("user_id", 64), text("mini_app", 200)
TIME = bigint("event_time_us")

# What enrichment writes of a usage message, in the order of its Parquet files.
EVENT_COLUMNS = (
    text("event_id", 200),
    TIME,
    DAY,
    text("phase", 20),
    USER,
    text("client_firm", 200, nullable=True),
    text("user_session", 200, nullable=True),
    APP,
    text("action", 200, nullable=True),
    text("screen", 400, nullable=True),
    Column("latency_ms", Kind.DOUBLE, nullable=True),
    text("properties", 4000, nullable=True),
    text("topic", 249),  # Kafka's own limit
    Column("kafka_partition", Kind.INT),
    bigint("kafka_offset"),
    bigint("kafka_timestamp_us", nullable=True),
    text("entity", 400, nullable=True),
    Column("payload_bytes", Kind.DOUBLE, nullable=True),
)
POSITION = ("topic", "kafka_partition", "kafka_offset")
WINDOW = text("load_window", 20)

# Window and start offset of the chunk that a row was loaded from: with topic and Kafka partition, its ledger row.
OF_CHUNK = (WINDOW, bigint("chunk_start"))
USAGE_EVENTS = Table("usage_events", (*OF_CHUNK, *EVENT_COLUMNS), POSITION, spread_by="user_id", by_day=True)
LOAD_LEDGER = Table(
    "load_ledger",
    (
        WINDOW, text("topic", 249), Column("kafka_partition", Kind.INT), bigint("start_offset"), bigint("end_offset"),
        bigint("row_count"), bigint("dead_letters"), text("fingerprint", 64), bigint("loaded_us"),
        Column("offset_sum", Kind.SUM, nullable=True), Column("first_day", Kind.DATE, nullable=True),
        Column("last_day", Kind.DATE, nullable=True),
    ),
    ("topic", "kafka_partition", "start_offset"),
)  # fmt: skip
TRADING_DAY_VERSIONS = Table("trading_day_versions", (DAY, bigint("version")), ("trading_day",))
MART_LEDGER = Table(
    "mart_ledger",
    (
        text("mart", 100), DAY, bigint("version"), bigint("row_count"),
        bigint("refreshed_us"), text("rule", 64, nullable=True),
    ),
    ("mart", "trading_day"),
)  # fmt: skip
USER_SESSIONS = Table(
    "user_sessions",
    (
        DAY, USER, bigint("session_number"), text("client_firm", 200, nullable=True), bigint("started_us"),
        bigint("ended_us"), bigint("events"), bigint("mini_apps"), text("first_mini_app", 200),
        text("last_mini_app", 200), bigint("errors"),
    ),
    ("trading_day", "user_id", "session_number"),
    spread_by="user_id",
    by_day=True,
)  # fmt: skip
APP_TRANSITIONS = Table(
    "app_transitions",
    (
        DAY, Column("fold", Kind.INT, nullable=True), text("prev3", 200, nullable=True),
        text("prev2", 200, nullable=True), text("prev1", 200, nullable=True), text("next", 200),
        bigint("transitions"), bigint("dwell_us"), bigint("timed"), bigint("latency_us"),
    ),
    ("trading_day", "fold", "prev3", "prev2", "prev1", "next"),
    by_day=True,
)  # fmt: skip
USER_PROFILES = Table(
    "user_profiles",
    (DAY, USER, APP, bigint("events"), bigint("visits"), bigint("user_sessions"), bigint("dwell_us"), bigint("errors")),
    ("trading_day", "user_id", "mini_app"),
    spread_by="user_id",
    by_day=True,
)
USAGE_SERIES = Table(
    "usage_series",
    (DAY, bigint("minute_us"), APP, bigint("events"), bigint("users"), bigint("errors")),
    ("trading_day", "minute_us", "mini_app"),
    by_day=True,
)
CO_USE = Table(
    "co_use", (DAY, APP, text("other", 200), bigint("users")), ("trading_day", "mini_app", "other"), by_day=True
)
STEPS = tuple(text(f"step_{number}", 200, nullable=number > 1) for number in range(1, 6))
PATHS = Table(
    "paths",
    (DAY, *STEPS, bigint("user_sessions")),
    ("trading_day", *(step.name for step in STEPS)),
    by_day=True,
)
ACTION = text("action", 200, nullable=True)
FRICTION = Table(
    "friction",
    (
        DAY, APP, ACTION, bigint("events"), bigint("timed"), bigint("latency_us"), bigint("errors"),
        bigint("abandoned"), bigint("repeats"), bigint("sized"), bigint("payload_bytes"),
    ),
    ("trading_day", "mini_app", "action"),
    by_day=True,
)  # fmt: skip
LATENCY_HISTOGRAM = Table(
    "latency_histogram",
    (DAY, APP, ACTION, Column("bucket", Kind.INT), bigint("events")),
    ("trading_day", "mini_app", "action", "bucket"),
    by_day=True,
)
FUNNELS = Table(
    "funnels",
    (DAY, text("funnel", 200), Column("step", Kind.INT), bigint("users"), bigint("took_us")),
    ("trading_day", "funnel", "step"),
    by_day=True,
)
PRELOAD_PLAN = Table(
    "preload_plan",
    (
        DAY, text("context", 700), Column("context_order", Kind.INT), Column("rank", Kind.INT, nullable=True),
        text("mini_app", 200, nullable=True), Column("probability", Kind.DOUBLE, nullable=True), bigint("transitions"),
        Column("value_ms", Kind.DOUBLE, nullable=True), Column("saved_ms", Kind.DOUBLE, nullable=True),
        Column("cost_ms", Kind.DOUBLE, nullable=True), Column("payload_bytes", Kind.DOUBLE, nullable=True),
    ),
    ("trading_day", "context", "rank"),
    by_day=True,
)  # fmt: skip

# Made anew for each refresh, and gone with the connection.
REPEATED_EVENTS = Table(
    "repeated_events", (text("topic", 249), Column("kafka_partition", Kind.INT), bigint("kafka_offset")), POSITION
)
SESSION_EVENTS = Table(
    "session_events",
    (
        DAY, USER, text("client_firm", 200, nullable=True), APP, ACTION, text("screen", 400, nullable=True),
        bigint("event_time_us"), Column("fold", Kind.INT, nullable=True), bigint("latency_us", nullable=True),
        bigint("position"), text("prev1", 200, nullable=True), text("prev2", 200, nullable=True),
        text("prev3", 200, nullable=True), bigint("dwell_before_us", nullable=True), bigint("dwell_us", nullable=True),
        Column("error", Kind.INT), Column("abandoned", Kind.INT), Column("repeated", Kind.INT),
        bigint("session_number"), Column("opens", Kind.INT), bigint("payload_bytes", nullable=True),
        text("entity", 400, nullable=True), text("phase", 20, nullable=True),
    ),
    ("trading_day", "user_id", "position"),
    spread_by="user_id",
)  # fmt: skip
APP_USES = Table(
    "app_uses",
    (
        DAY, USER, bigint("session_number"), APP, text("client_firm", 200, nullable=True), bigint("started_us"),
        bigint("ended_us"), Column("is_first", Kind.INT), Column("is_last", Kind.INT), bigint("events"),
        bigint("visits"), bigint("dwell_us"), bigint("errors"),
    ),
    ("trading_day", "user_id", "session_number", "mini_app"),
    spread_by="user_id",
)  # fmt: skip
ACTION_WAITS = Table(
    "action_waits",
    (
        DAY, APP, ACTION, Column("bucket", Kind.INT, nullable=True), bigint("events"), bigint("timed"),
        bigint("latency_us"), bigint("errors"), bigint("abandoned"), bigint("repeats"), bigint("sized"),
        bigint("payload_bytes"),
    ),
    ("trading_day", "mini_app", "action", "bucket"),
)  # fmt: skip
FUNNEL_STEPS = Table(
    "funnel_steps", (text("funnel", 200), Column("step", Kind.INT), bigint("within_us")), ("funnel", "step")
)
_TAKEN = (DAY, text("funnel", 200), Column("step", Kind.INT), bigint("within_us"), USER, bigint("position"), TIME)
FUNNEL_MATCHES = Table("funnel_matches", _TAKEN, ("funnel", "step", "user_id", "position"), spread_by="user_id")
FUNNEL_REACHED = Table(
    "funnel_reached", (*_TAKEN, bigint("started_us")), ("funnel", "step", "user_id", "position"), spread_by="user_id"
)

MARTS = (
    USER_SESSIONS, APP_TRANSITIONS, USER_PROFILES, USAGE_SERIES, CO_USE, PATHS, FRICTION, LATENCY_HISTOGRAM, FUNNELS,
)  # fmt: skip


def slices_of(mart: Table) -> Table:
    """Where a mart's rows are gathered while a day is worked through by slices of its users."""
    return Table(f"{mart.name}_slices", mart.columns, mart.key, mart.spread_by)


OF_A_REFRESH = (
    REPEATED_EVENTS, SESSION_EVENTS, APP_USES, ACTION_WAITS, FUNNEL_STEPS, FUNNEL_MATCHES, FUNNEL_REACHED,
    *map(slices_of, MARTS),
)  # fmt: skip

# What a warehouse keeps; the rest is made for a refresh and gone after it.
KEPT = (USAGE_EVENTS, LOAD_LEDGER, TRADING_DAY_VERSIONS, MART_LEDGER, *MARTS, PRELOAD_PLAN)
