"""When the clocks of a time zone change, and which local times happen twice or not at all because of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class ClockChange:
    """Local times in ``[start, end)`` happen twice where ``repeats``, and never otherwise; both are without a zone."""

    start: datetime
    end: datetime
    repeats: bool

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def minutes(self) -> Iterator[datetime]:
        """Each local minute that happens twice or never, in order, without a zone."""
        return (self.start + n * MINUTE for n in range(self.length // MINUTE))


def clock_changes(zone: tzinfo, first: date, last: date) -> list[ClockChange]:
    """The changes from the start of one day to the end of another (by UTC), in order."""
    days = [datetime.combine(first, time(), tzinfo=UTC) + timedelta(days=n) for n in range((last - first).days + 2)]
    offsets = [_offset(zone, day) for day in days]
    return [_change(zone, days[n], days[n + 1]) for n in range(len(days) - 1) if offsets[n] != offsets[n + 1]]


def _change(zone: tzinfo, before: datetime, after: datetime) -> ClockChange:
    old, new = _offset(zone, before), _offset(zone, after)
    while after - before > MINUTE:
        middle = before + (after - before) // MINUTE // 2 * MINUTE
        before, after = (middle, after) if _offset(zone, middle) == old else (before, middle)
    at = after.replace(tzinfo=None)
    return ClockChange(at + min(old, new), at + max(old, new), repeats=new < old)


def _offset(zone: tzinfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
