"""The sessions of an exchange, as far as the package exchange_calendars knows them."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from usage_analytics.errors import UserError

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar


@dataclass(frozen=True)
class Session:
    """One exchange session: its trading day, and opening and closing bell in UTC."""

    day: date
    opens: datetime
    closes: datetime


@lru_cache(maxsize=4)
def exchange_sessions(exchange: str, first: date, last: date) -> tuple[Session, ...]:
    """The sessions between two days, in order; of an exchange that is known for a shorter time, those of that time.

    An exchange that is not known at all is a `UserError`.
    """
    import exchange_calendars

    try:
        known = exchange_calendars.get_calendar(exchange, start=first.isoformat(), end=last.isoformat())
    except exchange_calendars.errors.InvalidCalendarName:
        raise UserError(f"exchange {exchange!r} is not in exchange_calendars (try XNYS, XLON, XTKS)") from None
    except ValueError:
        known = _all_that_is_known(exchange, first, last)
    opens = [instant.to_pydatetime() for instant in known.schedule["open"]]
    closes = [instant.to_pydatetime() for instant in known.schedule["close"]]
    return tuple(Session(day.date(), o, c) for day, o, c in zip(known.schedule.index, opens, closes, strict=True))


def _all_that_is_known(exchange: str, first: date, last: date) -> "ExchangeCalendar":
    import exchange_calendars

    kind = type(exchange_calendars.get_calendar(exchange))  # the default years, which depend on today, are not used
    earliest, latest = kind.bound_min(), kind.bound_max()
    start = first if earliest is None else max(first, earliest.date())
    end = last if latest is None else min(last, latest.date())
    return exchange_calendars.get_calendar(exchange, start=start.isoformat(), end=end.isoformat())
