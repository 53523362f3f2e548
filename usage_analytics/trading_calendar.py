"""Exchange sessions, windows and phases: pure functions of an instant.

A *window* is a 15-minute slot of the trading-day clock. Windows start on the clock's weekdays between opening and
closing hour; each lasts until the next one's start, the last of a day until the next day's first, so windows tile all
time. Where the clocks are put back, only the first pass of the repeated hour starts windows, and the last of them lasts
through the second; where they are put forward, the slots of the missing hour do not exist. So a local start names one
window, and keys sort as time runs. A *trading day* runs from the clock's opening on one exchange session to its opening
on the next, so nights, weekends and holidays belong to the session before them.
"""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import accumulate
from zoneinfo import ZoneInfo

from usage_analytics.errors import UserError
from usage_analytics.exchange_sessions import Session, exchange_sessions

FIRST_DAY = date(2010, 1, 1)  # events before it have no trading day; a constant, so that enrichment stays pure
LAST_DAY = date(2040, 12, 31)  # likewise; by default a calendar would end a year from today
WINDOW_KEY_FORMAT = "%Y-%m-%dT%H%M"
BEFORE_FIRST_DAY = timedelta(days=31)  # the first of January is a holiday: it belongs to a session before it
# Files beside the time zones: zones that count leap seconds, copies, and whatever this machine is set to.
NO_IANA_NAMES = ("right", "posix", "posixrules", "localtime")
PHASES = ("pre_open", "opening", "midday", "closing", "after_close", "overnight")  # in their order
OPENING_BURST = timedelta(minutes=30)
CLOSING_BURST = timedelta(minutes=30)


@dataclass(frozen=True)
class TradingClock:
    """The hours that windows divide: by default nine, 08:00 to 17:00 in New York, on weekdays XNYS ever trades on."""

    exchange: str = "XNYS"
    timezone: str = "America/New_York"
    opening_hour: int = 8
    closing_hour: int = 17
    window_minutes: int = 15

    def __post_init__(self) -> None:
        if not 0 <= self.opening_hour < self.closing_hour <= 24:
            hours = f"{self.opening_hour} to {self.closing_hour}"
            raise UserError(f"trading clock: hours {hours} are not an opening before a closing within one day")
        if self.window_minutes < 1 or 60 % self.window_minutes:
            raise UserError(f"trading clock: {self.window_minutes} window minutes do not divide an hour")

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def hours(self) -> range:
        return range(self.opening_hour, self.closing_hour)

    @property
    def windows_per_day(self) -> int:
        return len(self.hours) * 60 // self.window_minutes


@dataclass(frozen=True, order=True)
class Window:
    """A half-open slot ``[start, end)`` of arrival time; the key is its local start, such as ``2026-11-23T0815``."""

    start: datetime
    end: datetime
    key: str


@dataclass(frozen=True)
class PhaseInterval:
    """From ``start`` until the next interval's start, events belong to this trading day and phase.

    The phase is one of PHASES.
    """

    start: datetime
    trading_day: date
    phase: str


@dataclass(frozen=True)
class TradingCalendar:
    """Answers which window, trading day and phase an instant belongs to, for one clock."""

    clock: TradingClock
    sessions: tuple[Session, ...] = field(repr=False)
    weekdays: frozenset[int] = field(repr=False)
    _day_bounds: tuple[datetime, ...] = field(repr=False)  # the start of each trading day, and the end of the last

    def window_at(self, instant: datetime) -> Window:
        """The window that holds an instant (timezone-aware)."""
        moment = instant.astimezone(UTC)
        # From the day after on: where midnight is repeated, its windows begin in the evening that is lived twice.
        day = instant.astimezone(self.clock.zone).date() + timedelta(days=1)
        while not (begun := [window for window in self.windows_of(day) if window.start <= moment]):
            day -= timedelta(days=1)
        return begun[-1]

    def window_from_key(self, key: str) -> Window:
        """The window of a key; a key that starts no window is a `UserError`."""
        try:
            window = self.window_at(datetime.strptime(key, WINDOW_KEY_FORMAT).replace(tzinfo=self.clock.zone))
        except (ValueError, OverflowError):
            raise UserError(f"window {key!r}: expected a local start such as 2026-11-23T0815") from None
        if window.key != key:
            raise UserError(f"window {key!r}: no window starts then; the one that holds it is {window.key}")
        return window

    def windows_of(self, day: date) -> list[Window]:
        """The windows whose slots start on a day, in order; empty on a weekend."""
        slots = self._slots(day)
        if not slots:
            return []
        ends = [*(start for start, _ in slots[1:]), self._first_start_after(day)]
        return [Window(start, end, key) for (start, key), end in zip(slots, ends, strict=True)]

    def trading_day_at(self, instant: datetime) -> date:
        """The trading day that holds an instant; one that the calendar does not cover is a `UserError`."""
        return self.sessions[self._position(instant)].day

    def phase_intervals(self, first: datetime, last: datetime) -> list[PhaseInterval]:
        """The intervals that tile ``[first, last]``, in order."""
        low, high = (bisect_right(self._day_bounds, instant.astimezone(UTC)) - 1 for instant in (first, last))
        days = range(max(0, low), min(high + 1, len(self.sessions)))
        return [interval for position in days for interval in self._phases(position)]

    def phase_at(self, instant: datetime) -> str:
        """The phase of the trading day that holds an instant, one of PHASES; `UserError` as `trading_day_at`."""
        begun = [each for each in self._phases(self._position(instant)) if each.start <= instant.astimezone(UTC)]
        return begun[-1].phase

    def is_trading_day(self, day: date) -> bool:
        """Whether the exchange holds a session on a day."""
        opening = self._day_start(day)
        return self.covers(opening) and self.trading_day_at(opening) == day

    def latest_closed_day(self, now: datetime) -> date:
        """The newest trading day whose clock has closed before an instant."""
        moment = now.astimezone(UTC)
        day = self.trading_day_at(min(moment, self.known_until - timedelta(minutes=1)))
        return day if moment >= self._day_end(day) else self.trading_day_at(self._day_start(day) - timedelta(minutes=1))

    def holidays(self, first: date, last: date) -> list[date]:
        """The weekdays in ``[first, last]`` on which windows run but the exchange does not open."""
        open_days = {session.day for session in self.sessions}
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [day for day in days if self._has_windows(day) and day not in open_days]

    @property
    def known_from(self) -> datetime:
        """The start of the first trading day that the calendar knows."""
        return self._day_bounds[0]

    @property
    def known_until(self) -> datetime:
        """The end of the last one; which trading day would follow is not known, so it lasts only until the next day."""
        return self._day_bounds[-1]

    def covers(self, instant: datetime) -> bool:
        """Whether an instant lies in a trading day that the calendar knows."""
        return self.known_from <= instant.astimezone(UTC) < self.known_until

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever an instant may belong to another trading day or phase."""
        facts = [repr(self.clock), *(f"{s.day} {s.opens} {s.closes}" for s in self.sessions)]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]

    def _position(self, instant: datetime) -> int:
        if not self.covers(instant):
            known = f"{self.sessions[0].day} to {self.sessions[-1].day}"
            raise UserError(f"{instant.isoformat()} is in no trading day known of {self.clock.exchange}, {known}")
        return bisect_right(self._day_bounds, instant.astimezone(UTC)) - 1

    def _phases(self, position: int) -> list[PhaseInterval]:
        session, (start, end) = self.sessions[position], self._day_bounds[position : position + 2]
        starts = (
            start,
            session.opens,
            session.opens + OPENING_BURST,
            session.closes - CLOSING_BURST,
            session.closes,
            max(self._day_end(session.day), session.closes),
        )
        # In order whatever the clock: one set to other hours than the exchange's has phases of no length.
        in_order = accumulate((min(start, end) for start in starts), max)
        return [PhaseInterval(start, session.day, phase) for start, phase in zip(in_order, PHASES, strict=True)]

    def _has_windows(self, day: date) -> bool:
        return day.weekday() in self.weekdays

    def _day_start(self, day: date) -> datetime:
        return _in_utc(datetime.combine(day, time(self.clock.opening_hour)), self.clock.zone)

    def _day_end(self, day: date) -> datetime:
        return _in_utc(datetime.combine(day, time()) + timedelta(hours=self.clock.closing_hour), self.clock.zone)

    def _slots(self, day: date) -> list[tuple[datetime, str]]:
        """Start in UTC and key of each window of a day, in order."""
        if not self._has_windows(day):
            return []
        opening, length = datetime.combine(day, time(self.clock.opening_hour)), self.clock.window_minutes
        local = [opening + timedelta(minutes=slot * length) for slot in range(self.clock.windows_per_day)]
        starts = [(_in_utc(at, self.clock.zone), at) for at in local]
        exist = [(start, at) for start, at in starts if start.astimezone(self.clock.zone).replace(tzinfo=None) == at]
        return [(start, at.strftime(WINDOW_KEY_FORMAT)) for start, at in exist]

    def _first_start_after(self, day: date) -> datetime:
        day += timedelta(days=1)
        while not (slots := self._slots(day)):
            day += timedelta(days=1)
        return slots[0][0]


def _in_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a local time; of two, the first; of one that does not exist, as if the clocks had not changed."""
    return local.replace(tzinfo=zone).astimezone(UTC)


@lru_cache(maxsize=4)
def trading_calendar(clock: TradingClock = TradingClock()) -> TradingCalendar:
    """The calendar of a clock; an unknown exchange or time zone is a `UserError`."""
    if clock.timezone.split("/")[0] in NO_IANA_NAMES:
        raise UserError(f"time zone {clock.timezone!r} is not known: no name in the IANA database")
    try:
        zone = ZoneInfo(clock.timezone)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"time zone {clock.timezone!r} is not known: {error}") from None
    sessions = exchange_sessions(clock.exchange, FIRST_DAY - BEFORE_FIRST_DAY, LAST_DAY)
    days = [*(session.day for session in sessions), sessions[-1].day + timedelta(days=1)]
    bounds = tuple(_in_utc(datetime.combine(day, time(clock.opening_hour)), zone) for day in days)
    return TradingCalendar(clock, sessions, frozenset(session.day.weekday() for session in sessions), bounds)
