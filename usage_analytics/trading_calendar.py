"""Exchange sessions, windows and phases: pure functions of an instant.

A *window* is a 15-minute slot of the trading-day clock. Windows start on the clock's weekdays between opening and
closing hour; the last one of a day lasts until the next day's first, so windows tile all time. A *trading day* runs
from the clock's opening on one exchange session to its opening on the next, so nights, weekends and holidays belong to
the session before them.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate
from zoneinfo import ZoneInfo

from usage_analytics.errors import UserError
from usage_analytics.exchange_sessions import Session, exchange_sessions

FIRST_DAY = date(2010, 1, 1)  # events before it have no trading day; a constant, so that enrichment stays pure
LAST_DAY = date(2040, 12, 31)  # likewise; by default a calendar would end a year from today
WINDOW_KEY_FORMAT = "%Y-%m-%dT%H%M"
BEFORE_FIRST_DAY = timedelta(days=31)  # the first of January is a holiday: it belongs to a session before it
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
    def windows_per_day(self) -> int:
        return (self.closing_hour - self.opening_hour) * 60 // self.window_minutes


@dataclass(frozen=True, order=True)
class Window:
    """A half-open slot ``[start, end)`` of arrival time; the key is its local start, such as ``2026-11-23T0815``."""

    start: datetime
    end: datetime
    key: str


@dataclass(frozen=True)
class PhaseInterval:
    """From ``start`` until the next interval's start, events belong to this trading day and phase."""

    start: datetime
    trading_day: date
    phase: str


@dataclass(frozen=True)
class TradingCalendar:
    """Answers which window, trading day and phase an instant belongs to, for one clock."""

    clock: TradingClock
    sessions: tuple[Session, ...] = field(repr=False)
    weekdays: frozenset[int] = field(repr=False)
    _day_starts: tuple[datetime, ...] = field(repr=False)

    def window_at(self, instant: datetime) -> Window:
        """The window that holds an instant (timezone-aware)."""
        local = instant.astimezone(self.clock.zone)
        day = local.date()
        if not self._has_windows(day) or local < self._slot(day, 0):
            day = self._neighbour(day, -1)
            return self._window(day, self.clock.windows_per_day - 1)
        elapsed = local.replace(tzinfo=None) - self._slot(day, 0).replace(tzinfo=None)
        slot = int(elapsed.total_seconds() // 60) // self.clock.window_minutes
        return self._window(day, min(slot, self.clock.windows_per_day - 1))

    def window_from_key(self, key: str) -> Window:
        """The window of a key; a key that starts no window is a `UserError`."""
        try:
            start = datetime.strptime(key, WINDOW_KEY_FORMAT).replace(tzinfo=self.clock.zone)
        except ValueError:
            raise UserError(f"window {key!r}: expected a local start such as 2026-11-23T0815") from None
        window = self.window_at(start)
        if window.key != key:
            raise UserError(f"window {key!r}: no window starts then; the one that holds it is {window.key}")
        return window

    def windows_of(self, day: date) -> list[Window]:
        """The windows whose slots start on a day, in order; empty on a weekend."""
        if not self._has_windows(day):
            return []
        return [self._window(day, slot) for slot in range(self.clock.windows_per_day)]

    def trading_day_at(self, instant: datetime) -> date:
        """The trading day that holds an instant."""
        return self._session_at(instant).day

    def phase_at(self, instant: datetime) -> str:
        """The phase of the trading day: pre_open, opening, midday, closing, after_close or overnight."""
        moment = instant.astimezone(UTC)
        current = [p for p in self._phases(self._session_at(moment)) if p.start <= moment]
        return current[-1].phase

    def phase_intervals(self, first: datetime, last: datetime) -> list[PhaseInterval]:
        """The intervals that tile ``[first, last]``, in order."""
        low = max(0, bisect_right(self._day_starts, first.astimezone(UTC)) - 1)
        high = bisect_right(self._day_starts, last.astimezone(UTC))
        return [interval for session in self.sessions[low:high] for interval in self._phases(session)]

    def is_trading_day(self, day: date) -> bool:
        """Whether the exchange holds a session on a day."""
        at_noon = datetime.combine(day, time(12), tzinfo=self.clock.zone)
        return self.covers(at_noon) and self._session_at(at_noon).day == day

    def latest_closed_day(self, now: datetime) -> date:
        """The newest trading day whose clock has closed before an instant."""
        day = self._session_at(now).day
        closing = datetime.combine(day, time(), tzinfo=self.clock.zone) + timedelta(hours=self.clock.closing_hour)
        if now >= closing:
            return day
        return self._session_at(self._day_start(day) - timedelta(minutes=1)).day

    def holidays(self, first: date, last: date) -> list[date]:
        """The weekdays in ``[first, last]`` on which windows run but the exchange does not open."""
        open_days = {session.day for session in self.sessions}
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [day for day in days if self._has_windows(day) and day not in open_days]

    def covers(self, instant: datetime) -> bool:
        """Whether an instant lies in the years the calendar knows."""
        return self._day_starts[0] <= instant.astimezone(UTC) and instant.date() <= self.sessions[-1].day

    def _session_at(self, instant: datetime) -> Session:
        position = bisect_right(self._day_starts, instant.astimezone(UTC)) - 1
        if position < 0:
            raise UserError(f"{instant.isoformat()} is before the first trading day, {self.sessions[0].day}")
        return self.sessions[position]

    def _phases(self, session: Session) -> list[PhaseInterval]:
        night = datetime.combine(session.day, time(), tzinfo=self.clock.zone)
        night += timedelta(hours=self.clock.closing_hour)
        starts = [
            (self._day_start(session.day).astimezone(UTC), "pre_open"),
            (session.opens, "opening"),
            (session.opens + OPENING_BURST, "midday"),
            (session.closes - CLOSING_BURST, "closing"),
            (session.closes, "after_close"),
            (max(night.astimezone(UTC), session.closes), "overnight"),
        ]
        # In order whatever the clock: one set to other hours than the exchange's has phases of no length.
        in_order = accumulate((start for start, _ in starts), max)
        return [PhaseInterval(start, session.day, phase) for start, (_, phase) in zip(in_order, starts, strict=True)]

    def _has_windows(self, day: date) -> bool:
        return day.weekday() in self.weekdays

    def _neighbour(self, day: date, step: int) -> date:
        day += timedelta(days=step)
        while not self._has_windows(day):
            day += timedelta(days=step)
        return day

    def _day_start(self, day: date) -> datetime:
        return datetime.combine(day, time(self.clock.opening_hour), tzinfo=self.clock.zone)

    def _slot(self, day: date, slot: int) -> datetime:
        return self._day_start(day) + timedelta(minutes=slot * self.clock.window_minutes)

    def _window(self, day: date, slot: int) -> Window:
        start = self._slot(day, slot)
        last = slot == self.clock.windows_per_day - 1
        end = self._day_start(self._neighbour(day, 1)) if last else self._slot(day, slot + 1)
        return Window(start.astimezone(UTC), end.astimezone(UTC), start.strftime(WINDOW_KEY_FORMAT))


@lru_cache(maxsize=4)
def trading_calendar(clock: TradingClock = TradingClock()) -> TradingCalendar:
    """The calendar of a clock; an unknown exchange or time zone is a `UserError`."""
    try:
        zone = ZoneInfo(clock.timezone)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"time zone {clock.timezone!r} is not known: {error}") from None
    sessions = exchange_sessions(clock.exchange, FIRST_DAY - BEFORE_FIRST_DAY, LAST_DAY)
    opening = time(clock.opening_hour)
    starts = tuple(datetime.combine(s.day, opening, tzinfo=zone).astimezone(UTC) for s in sessions)
    return TradingCalendar(clock, sessions, frozenset(session.day.weekday() for session in sessions), starts)
