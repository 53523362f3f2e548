"""What a warehouse must tell models of users and of the day, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from closing import refresh
from fakes import TOPIC

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.models.branching.sessions.session_file import common_entities, write_sessions
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, Known, read_sessions
from usage_analytics.trading_calendar import PHASES, TradingClock
from usage_analytics.warehouse.minute_usage import minute_usage
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.session_sample import sampled_sessions, sampled_users
from usage_analytics.warehouse.user_slices import UserSlice
from usage_analytics.warehouse.user_visits import visits_by_slice, visits_of

DAYS = [date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 23)]
OPENS = datetime(2026, 11, 23, 13, tzinfo=UTC)  # eight o'clock in New York
MakeChunk = Callable[[str, list[dict[str, Any]]], EnrichedChunk]


def event(user: int, minute: int, mini_app: str, entity: str | None = None, day: date = DAYS[2]) -> dict[str, Any]:
    """Of one of 256 users, told apart by digits that a sample is drawn by; minutes after eight o'clock."""
    at = OPENS + (day - DAYS[2]) + timedelta(minutes=minute)
    return {
        "event_id": f"{user}-{day}-{minute}", "event_time_us": int(at.timestamp() * 1e6), "trading_day": day,
        "user_id": f"{user % 7:02x}{user:02x}{'0' * 28}", "mini_app": mini_app, "entity": entity,
    }  # fmt: skip


def load(warehouse: Warehouse, make_chunk: MakeChunk, events: list[dict[str, Any]]) -> None:
    warehouse.load_window(TOPIC, "2026-11-23T1000", [make_chunk("2026-11-23T1000", events)])


def sampled_sessions_are_whole_and_in_order(warehouse: Warehouse, make_chunk: MakeChunk, folder: Any) -> None:
    """A repeated message counts once; what each event was about stays beside it; sessions end after half an hour."""
    walk = [
        event(3, 0, "quotes", "EQ-1"),
        event(3, 1, "chart", "EQ-1"),
        event(3, 2, "news", ""),
        event(3, 40, "quotes"),
    ]
    load(warehouse, make_chunk, [*reversed(walk), walk[1], event(9, 5, "mail", day=DAYS[1])])
    users = sampled_users(warehouse, DAYS[2], 1_000)
    assert users == UserSlice()
    path = folder / "sessions.parquet"
    write_sessions(sampled_sessions(warehouse, DAYS[2], users), path)
    assert common_entities(path, 10, 2) == ("EQ-1",)
    known = Known(("", "EQ-1"))  # an empty text is nothing, whoever knows it
    [batch] = read_sessions([path], ("chart", "news", "quotes"), range(FOLDS), known)
    assert batch.sessions.codes.tolist() == [3, 1, 2, 3]
    assert batch.sessions.starts.tolist() == [0, 3, 4]
    assert batch.sessions.entities.tolist() == [2, 2, 0, 0]
    assert batch.sessions.phases.tolist() == [1 + PHASES.index("midday")] * 4
    assert batch.times_us.tolist() == [each["event_time_us"] for each in walk]


def a_sample_has_whole_users_and_about_as_many_events(warehouse: Warehouse, make_chunk: MakeChunk) -> None:
    load(warehouse, make_chunk, [event(user, minute, "news") for user in range(256) for minute in (0, 1)])
    users = sampled_users(warehouse, DAYS[2], 128)
    sessions = sampled_sessions(warehouse, DAYS[2], users)
    assert sessions.height == 64  # of 256, as 128 of 512 events were asked for
    assert sessions.get_column("mini_apps").list.len().unique().to_list() == [2]
    assert sessions.get_column("fold").n_unique() == FOLDS


def visits_are_those_of_the_last_trading_days(warehouse: Warehouse, make_chunk: MakeChunk) -> None:
    events = [event(user, minute, app, day=day) for day in DAYS for user in (1, 200)
              for minute, app in enumerate(("quotes", "news", "news", "quotes"))]  # fmt: skip
    load(warehouse, make_chunk, events)
    for day in DAYS:
        refresh(warehouse, day, "user_profiles", "usage_series")
    expected = [(app, 2 * (1 + (app == "quotes"))) for app in ("news", "quotes")]
    whole = pl.concat(visits_by_slice(warehouse, DAYS[2], 2))
    assert whole.select("mini_app", "visits").unique().sort("mini_app").rows() == expected
    assert whole.get_column("user_id").n_unique() == 2
    some = UserSlice(" AND SUBSTRING({e}user_id, 3, 4) < :sampled", {"sampled": "8000"})
    assert visits_of(warehouse, DAYS[2], 2, some).get_column("user_id").unique().to_list() == [events[0]["user_id"]]
    assert visits_of(warehouse, DAYS[0] - timedelta(days=1), 2, UserSlice()).is_empty()
    assert all(some.is_empty() for some in visits_by_slice(warehouse, DAYS[0] - timedelta(days=1), 2))


def minutes_are_counted_from_the_opening_hour(warehouse: Warehouse, make_chunk: MakeChunk) -> None:
    load(warehouse, make_chunk, [
        event(1, -5, "news"), event(1, 0, "news"), event(2, 0, "quotes"), event(2, 90, "quotes"),
        event(1, 3, "news", day=DAYS[1]), event(1, 3, "news", day=DAYS[0]),
    ])  # fmt: skip
    for day in DAYS:
        refresh(warehouse, day, "usage_series")
    found = minute_usage(warehouse, TradingClock(), DAYS[2], 2).rows()
    assert found == [(DAYS[1], 3, 1), (DAYS[2], -5, 1), (DAYS[2], 0, 2), (DAYS[2], 90, 1)]
    assert minute_usage(warehouse, TradingClock(), DAYS[0] - timedelta(days=1), 2).is_empty()
