"""One simulated trading day: how many user sessions start when, and what happens besides."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from statistics import mode

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import WALKED
from usage_analytics.simulation.randomness import Ints, Reals
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.trading_calendar import TradingClock, trading_calendar

MINUTE_US = 60_000_000
SLICE_MINUTES = 5
BEFORE_OPEN, AFTER_CLOSE = 90, 60  # minutes in which users are at work though the exchange is closed
WEEKDAYS = (0.95, 1.0, 1.03, 1.0, 0.9)
MONTH_END = 1.25
DAY_NOISE = 0.04
SPIKE_FACTOR, SPIKE_MINUTES = 5.0, 10
INCIDENT_FACTOR, INCIDENT_MINUTES = 6.0, 20
OUTAGE_MINUTES = 15
LUNCH, LUNCH_DIP, SHORTEST_WITH_LUNCH = (0.45, 0.65), 0.45, 300  # as shares of the session; minutes
BURST_MINUTES = 30
SCHEMA_CHANGE_DAY, SCHEMA_CHANGE_MINUTES = 28, 240  # of the story; after the first opening bell of its day
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COUNTED_AS = {
    "news_spike": "spikes_per_day", "latency_incident": "incidents_per_day", "outage": "outages_per_day",
}  # fmt: skip
PHASES = ("pre_open", "opening", "midday", "closing", "after_close")


@dataclass(frozen=True)
class Episode:
    """Something that lasts: from ``start_us`` until before ``end_us`` (epoch microseconds)."""

    kind: str
    subject: str  # the mini-app, or the exchange
    start_us: int
    end_us: int


@dataclass(frozen=True)
class ExchangeDay:
    """One exchange's day, minute by minute from 90 minutes before the opening bell to 60 after the closing one."""

    exchange: str
    first_minute: int  # since the epoch
    starts: Reals  # expected user sessions that start in each minute; an ordinary full day adds up to 1
    phases: Ints  # position in `PHASES` of each minute

    def of_slice(self, first_minute: int) -> slice:
        """The minutes of this exchange's day in the five that begin then."""
        low = max(0, first_minute - self.first_minute)
        return slice(low, max(low, first_minute + SLICE_MINUTES - self.first_minute))


@dataclass(frozen=True)
class MarketDay:
    """All exchanges' days under one date, and the day's episodes."""

    day: date
    scenario: Scenario
    exchanges: tuple[ExchangeDay, ...]
    episodes: tuple[Episode, ...]

    @cached_property
    def slices(self) -> list[int]:
        """First minutes of the five-minute slices that cover the day, in order; some may hold nothing."""
        first = min(e.first_minute for e in self.exchanges) // SLICE_MINUTES * SLICE_MINUTES
        last = max(e.first_minute + len(e.starts) for e in self.exchanges)
        return list(range(first, last, SLICE_MINUTES))


def schema_change_us(scenario: Scenario) -> int | None:
    """When clients begin to send the second version of the contract; None if they never do.

    On the first trading day from the 28th day of the story on, so that it does not depend on which days are simulated.
    """
    if not scenario.trouble.schema_change:
        return None
    days = (scenario.start + timedelta(days=n) for n in range(SCHEMA_CHANGE_DAY, SCHEMA_CHANGE_DAY + 31))
    opens = (
        [hours.first_minute + BEFORE_OPEN for e in scenario.exchanges if (hours := _hours(e, day))] for day in days
    )
    first = next((minutes for minutes in opens if minutes), None)
    return None if first is None else (min(first) + SCHEMA_CHANGE_MINUTES) * MINUTE_US


def market_day(scenario: Scenario, day: date) -> MarketDay:
    """The plan of a day on which at least one of the scenario's exchanges trades."""
    exchanges, episodes = [], []
    for exchange in scenario.exchanges:
        hours = _hours(exchange, day)
        if hours is None:
            continue
        shape, phases = shape_of_day(hours.length)
        spikes = _episodes(scenario, day, "news_spike", exchange, hours, SPIKE_MINUTES)
        for spike in spikes:
            low = spike.start_us // MINUTE_US - hours.first_minute
            shape[low : low + SPIKE_MINUTES] *= SPIKE_FACTOR
        scale = day_factor(scenario, day, exchange) / _ordinary_mass(exchange)
        exchanges.append(ExchangeDay(exchange, hours.first_minute, shape * scale, phases))
        episodes += spikes
    longest = max((h for e in scenario.exchanges if (h := _hours(e, day))), key=lambda h: h.length)
    for kind, minutes in (("latency_incident", INCIDENT_MINUTES), ("outage", OUTAGE_MINUTES)):
        episodes += _episodes(scenario, day, kind, None, longest, minutes)
    return MarketDay(day, scenario, tuple(exchanges), tuple(episodes))


def shape_of_day(length: int) -> tuple[Reals, Ints]:
    """Relative intensity and phase of each minute around a session of so many minutes: 1 is an ordinary forenoon."""
    at = (np.arange(length) + 0.5) / length
    inside = np.ones(length)
    if length >= SHORTEST_WITH_LUNCH:
        through = np.clip((at - LUNCH[0]) / (LUNCH[1] - LUNCH[0]), 0, 1)
        inside -= LUNCH_DIP * np.sin(np.pi * through) ** 2
    burst = min(BURST_MINUTES, length // 2)
    inside[:burst] = np.linspace(2.6, 1.4, burst)
    inside[-burst:] = np.linspace(1.2, 2.0, burst)
    weights = np.concatenate([np.linspace(0.1, 0.7, BEFORE_OPEN), inside, np.linspace(0.6, 0.1, AFTER_CLOSE)])
    lengths = [BEFORE_OPEN, burst, length - 2 * burst, burst, AFTER_CLOSE]
    return weights, np.repeat(np.arange(len(PHASES)), lengths)


def day_factor(scenario: Scenario, day: date, exchange: str) -> float:
    """How busy a day is beside an ordinary one: its weekday, the end of the month, and chance."""
    chance = randomness.normal(randomness.stream(scenario.seed, f"busyness {exchange}"), day.toordinal())
    last_of_month = all(_hours(exchange, later) is None for later in _rest_of_month(day))
    return float(WEEKDAYS[day.weekday() % 5] * (MONTH_END if last_of_month else 1.0) * np.exp(DAY_NOISE * chance))


@dataclass(frozen=True)
class _TradingHours:
    """From bell to bell, in minutes since the epoch; ``first_minute`` is 90 minutes before the opening bell."""

    first_minute: int
    length: int


def _hours(exchange: str, day: date) -> _TradingHours | None:
    return _all_hours(exchange).get(day)


@lru_cache(maxsize=16)
def _all_hours(exchange: str) -> dict[date, _TradingHours]:
    sessions = trading_calendar(TradingClock(exchange)).sessions
    return {
        s.day: _TradingHours((s.opens - EPOCH) // MINUTE - BEFORE_OPEN, (s.closes - s.opens) // MINUTE)
        for s in sessions
    }


@lru_cache(maxsize=16)
def _ordinary_mass(exchange: str) -> float:
    return float(shape_of_day(mode(s.length for s in _all_hours(exchange).values()))[0].sum())


def _rest_of_month(day: date) -> list[date]:
    days = (day + timedelta(days=n) for n in range(1, 31))
    return [later for later in days if later.month == day.month]


def _episodes(
    scenario: Scenario, day: date, kind: str, subject: str | None, hours: _TradingHours, minutes: int
) -> list[Episode]:
    count = getattr(scenario.trouble, COUNTED_AS[kind])
    source = randomness.stream(scenario.seed, f"{kind} {subject or 'of a mini-app'}")
    found = []
    for number in range(count):
        # Within trading hours, each in its own part of them, so that two of a kind never meet.
        part = (hours.length - minutes) / max(1, count)
        offset = int((number + randomness.uniform(source, day.toordinal(), number, 0)) * part)
        start = hours.first_minute + BEFORE_OPEN + offset
        app = WALKED[int(randomness.uniform(source, day.toordinal(), number, 1) * len(WALKED))]
        found.append(Episode(kind, subject or app, start * MINUTE_US, (start + minutes) * MINUTE_US))
    return found
