"""Usage events written by hand: one user's on one trading day, unless they say otherwise."""

from dataclasses import replace
from datetime import date
from typing import Any

from usage_analytics_tests.warehouse.event_strategies import DAYS, USERS, midnight_us, placed
from usage_analytics_tests.warehouse.session_oracle import Event

DAY, NEXT_DAY = DAYS[:2]
MARY, LI = USERS[:2]


def us(second: float, day: date = DAY) -> int:
    """The instant of a second of a day."""
    return midnight_us(day) + round(second * 1_000_000)


def at(second: float, mini_app: str = "quotes", day: date = DAY, **changes: Any) -> Event:
    """An event without an id and a place on Kafka."""
    return replace(Event("", day, MARY, us(second, day), mini_app), **changes)


def made(*events: Event) -> list[Event]:
    """The events on Kafka in the given order, with ids of their own where they have none."""
    return [replace(event, event_id=event.event_id or f"e{n}") for n, event in enumerate(placed(events))]
