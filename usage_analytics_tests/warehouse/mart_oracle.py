"""The tables of docs/marts.md from usage events, by loops and dictionaries: what the SQL of the marts is held against.

Written from the document alone. Each function gives rows of all trading days, in the column order of `tables.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from usage_analytics.tables import (
    APP_TRANSITIONS,
    CO_USE,
    FRICTION,
    LATENCY_HISTOGRAM,
    PATHS,
    USAGE_SERIES,
    USER_PROFILES,
    USER_SESSIONS,
    Table,
)
from usage_analytics_tests.warehouse.session_oracle import SECOND_US, Event, bucket, events_of_users, user_sessions

Row = tuple[Any, ...]
FoldOf = Callable[[str], int | None]
ERROR_ACTIONS = frozenset({"error"})
MINUTE_US = 60 * SECOND_US


def expected_user_sessions(events: Iterable[Event], error_actions: Collection[str] = ERROR_ACTIONS) -> set[Row]:
    rows = set()
    for session in user_sessions(events):
        firms = [event.client_firm for event in session.events if event.client_firm is not None]
        rows.add(
            _row(
                USER_SESSIONS,
                trading_day=session.trading_day,
                user_id=session.user_id,
                session_number=session.number,
                client_firm=min(firms, default=None),
                started_us=session.events[0].event_time_us,
                ended_us=session.events[-1].event_time_us,
                events=len(session.events),
                mini_apps=len({event.mini_app for event in session.events}),
                first_mini_app=session.events[0].mini_app,
                last_mini_app=session.events[-1].mini_app,
                errors=sum(event.action in error_actions for event in session.events),
            )
        )
    return rows


def expected_app_transitions(events: Iterable[Event], fold_of: FoldOf) -> set[Row]:
    sums: dict[Row, Counter[str]] = defaultdict(Counter)
    for session in user_sessions(events):
        for index, event in enumerate(session.events):
            context = [session.before(index, steps) for steps in (3, 2, 1)]
            names = [before.mini_app if before else None for before in context]
            sum_of = sums[session.trading_day, fold_of(session.user_id), *names, event.mini_app]
            sum_of["transitions"] += 1
            before = session.before(index)
            sum_of["dwell_us"] += event.event_time_us - before.event_time_us if before else 0
            if event.latency_us is not None:
                sum_of["timed"] += 1
                sum_of["latency_us"] += event.latency_us
    return _rows(APP_TRANSITIONS, sums)


def expected_user_profiles(events: Iterable[Event], error_actions: Collection[str] = ERROR_ACTIONS) -> set[Row]:
    sums: dict[Row, Counter[str]] = defaultdict(Counter)
    for session in user_sessions(events):
        for index, event in enumerate(session.events):
            sum_of = sums[session.trading_day, session.user_id, event.mini_app]
            sum_of["events"] += 1
            sum_of["dwell_us"] += session.dwell_us(index) or 0
            sum_of["errors"] += event.action in error_actions
        for visit in session.visits():
            sums[session.trading_day, session.user_id, visit[0].mini_app]["visits"] += 1
        for mini_app in {event.mini_app for event in session.events}:
            sums[session.trading_day, session.user_id, mini_app]["user_sessions"] += 1
    return _rows(USER_PROFILES, sums)


def expected_usage_series(events: Iterable[Event], error_actions: Collection[str] = ERROR_ACTIONS) -> set[Row]:
    sums: dict[Row, Counter[str]] = defaultdict(Counter)
    users: dict[Row, set[str]] = defaultdict(set)
    for ordered in events_of_users(events).values():
        for event in ordered:
            minute_us = event.event_time_us - event.event_time_us % MINUTE_US
            key = (event.trading_day, minute_us, event.mini_app)
            sums[key]["events"] += 1
            sums[key]["errors"] += event.action in error_actions
            users[key].add(event.user_id)
            sums[key]["users"] = len(users[key])
    return _rows(USAGE_SERIES, sums)


def expected_co_use(events: Iterable[Event]) -> set[Row]:
    sums: dict[Row, Counter[str]] = defaultdict(Counter)
    for (trading_day, _), ordered in events_of_users(events).items():
        used = {event.mini_app for event in ordered}
        for mini_app in used:
            for other in used:
                if mini_app <= other:
                    sums[trading_day, mini_app, other]["users"] += 1
    return _rows(CO_USE, sums)


def expected_paths(events: Iterable[Event]) -> set[Row]:
    sums: dict[Row, Counter[str]] = defaultdict(Counter)
    for session in user_sessions(events):
        steps: list[str | None] = [visit[0].mini_app for visit in session.visits()[:5]]
        while len(steps) < 5:
            steps.append(None)
        sums[session.trading_day, *steps]["user_sessions"] += 1
    return _rows(PATHS, sums)


def expected_friction(events: Iterable[Event], error_actions: Collection[str] = ERROR_ACTIONS) -> set[Row]:
    sums: dict[Row, Counter[str]] = defaultdict(Counter)
    for session in user_sessions(events):
        for index, event in enumerate(session.events):
            sum_of = sums[session.trading_day, event.mini_app, event.action]
            sum_of["events"] += 1
            if event.latency_us is not None:
                sum_of["timed"] += 1
                sum_of["latency_us"] += event.latency_us
            sum_of["errors"] += event.action in error_actions
            sum_of["abandoned"] += session.is_abandoned(index)
            sum_of["repeats"] += session.is_repeat(index)
            if event.whole_bytes is not None:
                sum_of["sized"] += 1
                sum_of["payload_bytes"] += event.whole_bytes
    return _rows(FRICTION, sums)


def expected_latency_histogram(events: Iterable[Event]) -> set[Row]:
    sums: dict[Row, Counter[str]] = defaultdict(Counter)
    for ordered in events_of_users(events).values():
        for event in ordered:
            if event.latency_us is not None:
                key = (event.trading_day, event.mini_app, event.action, bucket(event.latency_us))
                sums[key]["events"] += 1
    return _rows(LATENCY_HISTOGRAM, sums)


def differences(found: Iterable[Row], expected: set[Row]) -> list[str]:
    """What is wrong with the rows of a table, a line each; empty if they are those expected, each once."""
    counts = Counter(found)
    wrong = [f"{count} times: {row}" for row, count in counts.items() if count > 1]
    wrong += [f"missing: {row}" for row in expected - set(counts)]
    wrong += [f"not expected: {row}" for row in set(counts) - expected]
    return sorted(wrong)


def _row(table: Table, **values: Any) -> Row:
    assert set(values) == set(table.column_names())
    return tuple(values[name] for name in table.column_names())


def _rows(table: Table, sums: Mapping[Row, Counter[str]]) -> set[Row]:
    """Rows of a key, which the table's first columns hold, and of sums under the names of the others."""
    rows = set()
    for key, sum_of in sums.items():
        measures = table.column_names()[len(key) :]
        assert set(sum_of) <= set(measures), (table.name, measures, sum_of)
        rows.add((*key, *(sum_of[name] for name in measures)))
    return rows
