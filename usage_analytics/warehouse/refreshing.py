"""Refreshes a trading day of marts from its usage events: what they share is made once, then each mart groups it."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from usage_analytics.tables import (
    APP_TRANSITIONS,
    FUNNEL_MATCHES,
    FUNNEL_REACHED,
    FUNNEL_STEPS,
    FUNNELS,
    MART_LEDGER,
    MARTS,
    PRELOAD_PLAN,
    REPEATED_EVENTS,
    SESSION_EVENTS,
    Table,
    slices_of,
)
from usage_analytics.warehouse.marts import (
    CODED,
    FOLD_OF_USER,
    IS_MEASURED,
    IS_SIZED,
    NOT_ASKED,
    SHARED,
    MartRules,
    funnel_matches_sql,
    of_all_columns,
    repeated_events_sql,
    session_events_sql,
    sql,
)
from usage_analytics.warehouse.session import AS_TEXTS, Session, Types, Values
from usage_analytics.warehouse.user_slices import UserSlice, added_up, slices_of_users


@dataclass(frozen=True)
class MartReceipt:
    """What refreshing one mart for one trading day gave.

    ``duplicates_dropped``: usage events that repeat another; ``latencies_left_out``: usage events, these too, whose
    latency counts as missing, because it is below zero or longer than half an hour; ``payloads_left_out``: those whose
    payload does, because it is below zero or larger than a gibibyte.
    """

    rows: int
    version: int
    duplicates_dropped: int
    latencies_left_out: int
    payloads_left_out: int


OF_DAY = "{e}trading_day = :day"
VERSION = "SELECT version FROM trading_day_versions WHERE trading_day = :day"
COUNTED = f"""
SELECT COUNT(*) AS events, COUNT(CASE WHEN NOT ({IS_MEASURED}) THEN 1 END) AS latencies_left_out,
       COUNT(CASE WHEN NOT ({IS_SIZED}) THEN 1 END) AS payloads_left_out
FROM usage_events AS e WHERE {OF_DAY.format(e="e.")}
"""
REPEATED = "SELECT COUNT(*) FROM repeated_events"
MADE = "SELECT mart, trading_day, version, rule FROM mart_ledger"
DAYS_UNTIL = "SELECT trading_day, version FROM trading_day_versions WHERE trading_day <= :until ORDER BY trading_day"


def refresh_day(session: Session, names: Collection[str], day: date, rules: MartRules) -> dict[str, MartReceipt]:
    """Replace one trading day of some marts by what the day's events say now; what each gave."""
    unknown = sorted(set(names) - {mart.name for mart in MARTS})
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not a mart ({', '.join(mart.name for mart in MARTS)})")
    wanted = [mart for mart in MARTS if mart.name in names]
    # Before the events are read: those that are loaded meanwhile make the marts stale, not wrong.
    version = _number(session, VERSION, {"day": day})
    types = of_all_columns(session.coded(CODED, OF_DAY.format(e=""), {"day": day}))
    for mart in wanted:
        session.temporary(slices_of(mart), types)
    find_repeated(session, OF_DAY, {"day": day})
    session.update_statistics(REPEATED_EVENTS)
    [(events, *left_out)] = session.rows(COUNTED, {"day": day})
    for users in slices_of_users(session.slices(events)):
        _gather(session, wanted, day, users, rules, types)
    dropped = _number(session, REPEATED, {})
    rows = {mart.name: _replace(session, mart, day, version, rules) for mart in wanted}
    for mart in wanted:
        session.update_statistics(mart)
    return {name: MartReceipt(count, version, dropped, *left_out) for name, count in rows.items()}


def find_repeated(session: Session, chosen: str, values: Values) -> None:
    """The temporary table of events that repeat another among some; ``{e}`` in the condition is their table."""
    session.temporary(REPEATED_EVENTS)
    session.run(_insert(REPEATED_EVENTS, repeated_events_sql(chosen)), values)


def make_session_events(
    session: Session, chosen: str, values: Values, rules: MartRules, fold: str = FOLD_OF_USER,
    types: Types = AS_TEXTS, entity: str = NOT_ASKED, phase: str = NOT_ASKED,
) -> None:  # fmt: skip
    """The temporary table that marts are made from, of some usage events, all of a user's or none.

    ``{e}`` in the condition is their table, ``e`` in the expressions of fold, entity and phase. Those that repeat
    another must have been found.
    """
    errors = {f"error_{number}": action for number, action in enumerate(rules.error_actions)}
    session.temporary(SESSION_EVENTS, types)
    select = session_events_sql(chosen, fold, len(errors), types, entity, phase)
    session.run(_insert(SESSION_EVENTS, select), {**values, **errors})


def _gather(
    session: Session, wanted: Sequence[Table], day: date, users: UserSlice, rules: MartRules, types: Types
) -> None:
    """Add what the users of a slice make of each mart."""
    make_session_events(session, f"{OF_DAY}{users.condition}", {"day": day, **users.values}, rules, types=types)
    session.update_statistics(SESSION_EVENTS)
    for shared in sorted({SHARED[mart] for mart in wanted if mart in SHARED}, key=lambda table: table.name):
        session.temporary(shared, types)
        _fill(session, shared, sql(shared.name), {})
    if FUNNELS in wanted:
        _reach_steps(session, rules, types)
    for mart in wanted:
        session.run(_insert(slices_of(mart), sql(mart.name)))


def stale_tables(session: Session, rules: MartRules, until: date = date.max) -> dict[date, list[str]]:
    """By trading day, oldest first: its marts that are of other events than now, or were made by another rule.

    Of the newest day up to ``until``, all marts and the plan, as soon as one of them is; of earlier ones no plan, for
    theirs answer nothing any more.
    """
    wanted = {mart.name: rule_of(mart, rules) for mart in MARTS}
    made = {(table, day): (version, rule) for table, day, version, rule in session.rows(MADE)}
    days = session.rows(DAYS_UNTIL, {"until": until})
    stale = {
        day: [mart for mart, rule in wanted.items() if made.get((mart, day)) != (version, rule)]
        for day, version in days
    }
    for day, version in days[-1:]:
        if stale[day] or made.get((PRELOAD_PLAN.name, day)) != (version, wanted[APP_TRANSITIONS.name]):
            stale[day] = [*wanted, PRELOAD_PLAN.name]
    return {day: tables for day, tables in stale.items() if tables}


def remember(session: Session, mart: str, day: date, version: int, rows: int, rule: str | None) -> None:
    """Write down what a trading day of a mart was made from; within the transaction that makes it."""
    session.run("DELETE FROM mart_ledger WHERE mart = :mart AND trading_day = :day", {"mart": mart, "day": day})
    values = {"mart": mart, "trading_day": day, "version": version, "row_count": rows, "rule": rule}
    session.append(MART_LEDGER, pl.DataFrame([{**values, "refreshed_us": int(datetime.now(UTC).timestamp() * 1e6)}]))


def rule_of(mart: Table, rules: MartRules) -> str:
    """A fingerprint of what decides on a mart's content, besides the events: statements as filled, and their values."""
    fold = FOLD_OF_USER if mart is APP_TRANSITIONS else "0"  # nothing else reads it
    parts = [
        repeated_events_sql(OF_DAY), session_events_sql(OF_DAY, fold, len(rules.error_actions), AS_TEXTS),
        repr(rules.error_actions), sql(mart.name), added_up(mart),
    ]  # fmt: skip
    if mart in SHARED:
        parts.append(sql(SHARED[mart].name))
    if mart is FUNNELS:
        parts += [sql("funnel_first_step"), sql("funnel_next_step")]
        parts += [repr(each) for each in (*_funnel_steps(rules), *_funnel_matches(rules))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _replace(session: Session, mart: Table, day: date, version: int, rules: MartRules) -> int:
    of_day: Values = {"day": day}
    with session.transaction():
        session.run(f"DELETE FROM {mart.name} WHERE trading_day = :day", of_day)
        session.run(_insert(mart, added_up(mart)))
        rows = _number(session, f"SELECT COUNT(*) FROM {mart.name} WHERE trading_day = :day", of_day)
        remember(session, mart.name, day, version, rows, rule_of(mart, rules))
    return rows


def _reach_steps(session: Session, rules: MartRules, types: Types) -> None:
    for table in (FUNNEL_STEPS, FUNNEL_MATCHES, FUNNEL_REACHED):
        session.temporary(table, types)
    session.append(FUNNEL_STEPS, pl.DataFrame(_funnel_steps(rules), FUNNEL_STEPS.column_names(), orient="row"))
    for matches, values in _funnel_matches(rules):
        session.run(_insert(FUNNEL_MATCHES, matches), values)
    session.update_statistics(FUNNEL_MATCHES)
    _fill(session, FUNNEL_REACHED, sql("funnel_first_step"), {})
    for number in range(2, max((len(funnel.steps) for funnel in rules.funnels), default=1) + 1):
        _fill(session, FUNNEL_REACHED, sql("funnel_next_step"), {"step": number})


def _funnel_steps(rules: MartRules) -> list[tuple[str, int, int]]:
    return [(f.name, number, round(f.within_s * 1e6)) for f in rules.funnels for number in range(1, len(f.steps) + 1)]


def _funnel_matches(rules: MartRules) -> list[tuple[str, Values]]:
    matches: list[tuple[str, Values]] = []
    for funnel in rules.funnels:
        for number, step in enumerate(funnel.steps, start=1):
            select, values = funnel_matches_sql(step)
            matches.append((select, {"funnel": funnel.name, "step": number, **values}))
    return matches


def _fill(session: Session, table: Table, select: str, values: Values) -> None:
    """Put a query's rows into a temporary table, and have the store know what it then holds."""
    session.run(_insert(table, select), values)
    session.update_statistics(table)


def _insert(table: Table, select: str) -> str:
    return f"INSERT INTO {table.name} ({', '.join(table.column_names())}) {select}"


def _number(session: Session, statement: str, values: Values) -> int:
    rows = session.rows(statement, values)
    return int(rows[0][0]) if rows else 0
