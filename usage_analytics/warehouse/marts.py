"""The marts: which there are, and the queries that they are made by."""

from dataclasses import dataclass
from importlib import resources

from usage_analytics.tables import (
    ACTION_WAITS,
    APP_USES,
    CO_USE,
    FRICTION,
    LATENCY_HISTOGRAM,
    USER_PROFILES,
    USER_SESSIONS,
)
from usage_analytics.warehouse.funnel_definitions import Funnel, Step
from usage_analytics.warehouse.session import Types

# What some marts share besides the session events.
SHARED = {
    USER_SESSIONS: APP_USES, USER_PROFILES: APP_USES, CO_USE: APP_USES,
    FRICTION: ACTION_WAITS, LATENCY_HISTOGRAM: ACTION_WAITS,
}  # fmt: skip
# Texts of session events that are worth a code, because they repeat and are sorted and grouped by.
CODED = ("user_id", "client_firm", "mini_app", "action", "screen", "topic")
# What else they hold the texts of.
MINI_APPS = (
    "prev1", "prev2", "prev3", "next", "other", "first_mini_app", "last_mini_app",
    "step_1", "step_2", "step_3", "step_4", "step_5",
)  # fmt: skip
FOLDS = 5
# The pseudonym's first two hexadecimal digits as a number, so that a user stays in one fold on every day and in every
# engine: DuckDB, T-SQL and Spark all read this. A digit's value is its ASCII code less that of '0', modulo 39, because
# 'a' comes 39 codes after the place where the digit ten would be.
FOLD_OF_USER = (
    f"((ASCII(SUBSTRING(e.user_id, 1, 1)) - 48) % 39 * 16 + (ASCII(SUBSTRING(e.user_id, 2, 1)) - 48) % 39) % {FOLDS}"
)
# What one event cannot have measured would outweigh thousands that did, in every sum. A wait of half an hour is the gap
# that ends a user session: an absence. A gibibyte is beyond what a click fetches, and below what counters that have
# overflown and instants in the wrong field hold, 2^31 and the seconds since 1970.
IS_MEASURED = "e.latency_ms >= 0 AND e.latency_ms <= 1800000"
IS_SIZED = "e.payload_bytes >= 0 AND e.payload_bytes <= 1073741824"
NOT_ASKED = "NULL"
IN_ORDER = "(PARTITION BY trading_day, user_id ORDER BY event_time_us, topic, kafka_partition, kafka_offset)"

VIEWS = ("app_adoption", "retention", "stickiness", "latency_percentiles")


@dataclass(frozen=True)
class MartRules:
    """What the user decides about marts: which actions are errors, and the funnels."""

    error_actions: tuple[str, ...] = ("error",)
    funnels: tuple[Funnel, ...] = ()


def of_all_columns(types: Types) -> Types:
    """The types of coded columns, and of those that hold the same texts."""
    return {**types, **(dict.fromkeys(MINI_APPS, types["mini_app"]) if "mini_app" in types else {})}


def sql(name: str, **parts: str) -> str:
    """One of the package's SQL files, its `{parts}` filled; `KeyError` where one is left."""
    text = (resources.files("usage_analytics.warehouse") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return text.format_map(parts)


def repeated_events_sql(days: str) -> str:
    """The query of the events that repeat another; ``days``: a condition in which ``{e}`` stands for the table."""
    return sql("repeated_events", days=days.format(e="e."))


def session_events_sql(
    days: str, fold: str, error_actions: int, types: Types, entity: str = NOT_ASKED, phase: str = NOT_ASKED
) -> str:
    """The query that the marts are made from; ``days`` as in `repeated_events_sql`, ``types`` of coded columns.

    No mart needs entities and phases: texts that nobody asks for would have to be sorted with the others.
    """
    errors = ", ".join(f":error_{number}" for number in range(error_actions))
    is_error = f"action IN ({errors})" if errors else "1 = 0"
    coded = {name: f"CAST(e.{name} AS {types[name]})" if name in types else f"e.{name}" for name in CODED}
    return sql(
        "session_events",
        days=days.format(e="e."),
        in_order=IN_ORDER,
        is_measured=IS_MEASURED,
        is_sized=IS_SIZED,
        fold=fold,
        entity=entity,
        phase=phase,
        is_error=is_error,
        **coded,
    )


def funnel_matches_sql(step: Step) -> tuple[str, dict[str, object]]:
    """The query of the events that can take a step, and what it asks for; besides, of ``funnel`` and ``step``."""
    named = {"mini_app": step.mini_app, "action": step.action, "screen": step.screen}
    values: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    return sql("funnel_matches", is_taken=" AND ".join(f"e.{name} = :{name}" for name in values)), values


def view_sql(name: str) -> str:
    """The query that stands behind a view."""
    return sql(name, **{share: middle_of_bucket(share) for share in ("p50", "p90", "p99")})


def middle_of_bucket(bucket: str) -> str:
    """The expression of a latency that stands for its bucket, another expression.

    In whole microseconds: a bucket is 100 times the number of a latency's digits, plus the first two of them."""
    digits = f"({bucket} - {bucket} % 100) / 100"
    middle = f"CAST(FLOOR(({bucket} % 100 + 0.5) * POWER(CAST(10 AS DOUBLE), {digits} - 2)) AS BIGINT)"
    return f"CASE WHEN {bucket} < 110 THEN {bucket} - 100 ELSE {middle} END"
