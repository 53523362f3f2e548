"""Two trading days in a warehouse: users of two kinds with likes of their own; an instrument that leads somewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from closing import refresh
from fakes import TOPIC, enriched_chunk

from usage_analytics.warehouse.protocol import Warehouse

DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
APPS = ("blotter", "chart", "chat", "depth", "mail", "news", "orders", "quotes")
LEADING, LED_TO = "EQ-001", "orders"
AT_OPEN = ("mail", "news")  # by kind of users
MARTS = ("app_transitions", "user_profiles", "usage_series", "friction", "latency_histogram")
USERS = 120
EVENTS = 40


def user_id(user: int) -> str:
    """Pseudonyms in all folds."""
    return f"{user:02x}{user * 547 % 65536:04x}{'0' * 9}1{'0' * 16}"


def events_of(day: date, seed: int) -> list[dict[str, Any]]:
    """A user session of each user: a walk by the likes of his kind, odd or even, and by what is in hand."""
    chance = np.random.default_rng(seed)
    opens = datetime(day.year, day.month, day.day, 15, tzinfo=UTC)
    rows = []
    for user in range(USERS):
        likes = np.where(np.arange(len(APPS)) % 2 == user % 2, 4.0, 1.0)
        app = int(chance.integers(len(APPS)))
        for step in range(EVENTS):
            entity = LEADING if chance.random() < 0.15 else "EQ-002"
            at = opens + timedelta(minutes=user, seconds=20 * step)
            rows.append({
                "event_id": f"{user}-{step}", "event_time_us": int(at.timestamp() * 1e6), "trading_day": day,
                "user_id": user_id(user), "mini_app": APPS[app], "action": "open", "entity": entity,
                "latency_ms": 300.0 + 100 * app, "payload_bytes": 1e5 * (1 + app),
            })  # fmt: skip
            weights = likes / likes.sum() * (0.5 if entity == LEADING else 1.0)
            weights[APPS.index(LED_TO)] += 0.5 if entity == LEADING else 0.0
            app = int(chance.choice(len(APPS), p=weights / weights.sum()))
    return rows


def with_an_open(day: date, seed: int) -> list[dict[str, Any]]:
    """Before these, all look at quotes, each once from 9:15 to 9:30; from 9:32 on each kind opens one of AT_OPEN."""
    before = datetime(day.year, day.month, day.day, 14, 15, tzinfo=UTC)
    rows = []
    for user in range(USERS):
        told = AT_OPEN[user % 2]
        walk = [
            (user / 8.5, "quotes"),
            (17 + user / 10, "quotes"),
            *((17.2 + user / 10 + n / 60, told) for n in range(6)),
        ]
        for step, (minute, app) in enumerate(walk):
            at = before + timedelta(minutes=minute)
            rows.append({
                "event_id": f"{user}-open-{step}", "event_time_us": int(at.timestamp() * 1e6), "trading_day": day,
                "user_id": user_id(user), "mini_app": app, "action": "open",
                "latency_ms": 300.0 + 100 * APPS.index(app), "payload_bytes": 1e5 * (1 + APPS.index(app)),
            })  # fmt: skip
    return rows + events_of(day, seed)


def load_days(
    warehouse: Warehouse,
    folder: Path,
    days: Sequence[date] = DAYS,
    events: Callable[[date, int], list[dict[str, Any]]] = events_of,
) -> None:
    """The days' events, and the marts that models read."""
    for number, day in enumerate(days):
        load_events(warehouse, folder, day, number * 100_000, events(day, number))
        refresh(warehouse, day, *MARTS)


def load_events(warehouse: Warehouse, folder: Path, day: date, offset: int, events: list[dict[str, Any]]) -> None:
    """Events of a day, as the window of ten o'clock."""
    window = f"{day}T1000"
    warehouse.load_window(TOPIC, window, [enriched_chunk(folder, window, 0, offset, events)])
