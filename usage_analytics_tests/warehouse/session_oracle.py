"""What the marts are made from, as docs/marts.md says it and in the plainest Python: each event once, user sessions."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

HALF_AN_HOUR_MS = 1_800_000
GIBIBYTE = 2**30
SECOND_US = 1_000_000
GAP_US = 30 * 60 * SECOND_US
REPEAT_WITHIN_US = 5 * SECOND_US


@dataclass(frozen=True)
class Event:
    """A usage event, as far as marts look at it."""

    event_id: str
    trading_day: date
    user_id: str
    event_time_us: int
    mini_app: str
    action: str | None = None
    screen: str | None = None
    client_firm: str | None = None
    latency_ms: float | None = None
    payload_bytes: float | None = None
    topic: str = "clicks"
    kafka_partition: int = 0
    kafka_offset: int = 0

    @property
    def position(self) -> tuple[str, int, int]:
        """Where it stands on Kafka."""
        return self.topic, self.kafka_partition, self.kafka_offset

    @property
    def latency_us(self) -> int | None:
        """Its latency in whole microseconds; the product is that of two doubles. More than half an hour is missing."""
        if self.latency_ms is None or not 0 <= self.latency_ms <= HALF_AN_HOUR_MS:
            return None
        return math.floor(self.latency_ms * 1000)

    @property
    def whole_bytes(self) -> int | None:
        """Its payload in whole bytes. More than a gibibyte is missing."""
        if self.payload_bytes is None or not 0 <= self.payload_bytes <= GIBIBYTE:
            return None
        return math.floor(self.payload_bytes)


@dataclass(frozen=True)
class UserSession:
    """A run of a user's events without a gap of 30 minutes or more; ``number``: from 1 within user and day."""

    trading_day: date
    user_id: str
    number: int
    events: tuple[Event, ...]

    def before(self, index: int, steps: int = 1) -> Event | None:
        """The event that many before the one at an index; None before the start of the user session."""
        return self.events[index - steps] if index >= steps else None

    def dwell_us(self, index: int) -> int | None:
        """The time until the next event; None of the last."""
        if index + 1 == len(self.events):
            return None
        return self.events[index + 1].event_time_us - self.events[index].event_time_us

    def is_abandoned(self, index: int) -> bool:
        """Whether the next event is in another mini-app, and before the answer."""
        event, dwell_us = self.events[index], self.dwell_us(index)
        if dwell_us is None or event.latency_us is None:
            return False
        return self.events[index + 1].mini_app != event.mini_app and dwell_us < event.latency_us

    def is_repeat(self, index: int) -> bool:
        """Whether the user pressed again."""
        event, before = self.events[index], self.before(index)
        if before is None:
            return False
        same = (event.mini_app, event.action, event.screen) == (before.mini_app, before.action, before.screen)
        return same and event.event_time_us - before.event_time_us < REPEAT_WITHIN_US

    def visits(self) -> list[list[Event]]:
        """The runs of events in one mini-app."""
        visits: list[list[Event]] = []
        for event in self.events:
            if visits and visits[-1][-1].mini_app == event.mini_app:
                visits[-1].append(event)
            else:
                visits.append([event])
        return visits


def each_event_once(events: Iterable[Event]) -> list[Event]:
    """Of several events with one id of one user on one day, the first on Kafka."""
    first: dict[tuple[date, str, str], Event] = {}
    for event in events:
        name = (event.trading_day, event.user_id, event.event_id)
        if name not in first or event.position < first[name].position:
            first[name] = event
    return list(first.values())


def events_of_users(events: Iterable[Event]) -> dict[tuple[date, str], list[Event]]:
    """Each user's events of each trading day, each once and in order."""
    of_users: dict[tuple[date, str], list[Event]] = {}
    for event in sorted(each_event_once(events), key=lambda event: (event.event_time_us, event.position)):
        of_users.setdefault((event.trading_day, event.user_id), []).append(event)
    return of_users


def user_sessions(events: Iterable[Event]) -> Iterator[UserSession]:
    """All user sessions of all trading days."""
    for (trading_day, user_id), ordered in events_of_users(events).items():
        runs: list[list[Event]] = []
        for event in ordered:
            if runs and event.event_time_us - runs[-1][-1].event_time_us < GAP_US:
                runs[-1].append(event)
            else:
                runs.append([event])
        for number, run in enumerate(runs, 1):
            yield UserSession(trading_day, user_id, number, tuple(run))


def bucket(latency_us: int) -> int:
    """100 times the number of decimal digits, plus what the first two of them make."""
    digits = str(latency_us)
    return 100 * len(digits) + int(digits[:2])
