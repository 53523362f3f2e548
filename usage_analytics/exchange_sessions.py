"""The sessions of an exchange, as far as the package exchange_calendars knows them."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

from usage_analytics.errors import UserError


@dataclass(frozen=True)
class Session:
    """One exchange session: its trading day, and opening and closing bell in UTC."""

    day: date
    opens: datetime
    closes: datetime


@lru_cache(maxsize=4)
def exchange_sessions(exchange: str, first: date, last: date) -> tuple[Session, ...]:
    """The sessions between two days, in order; an exchange that is not known for all that time is a `UserError`."""
    import exchange_calendars

    try:
        known = exchange_calendars.get_calendar(exchange, start=first.isoformat(), end=last.isoformat())
    except exchange_calendars.errors.InvalidCalendarName:
        raise UserError(f"exchange {exchange!r} is not in exchange_calendars (try XNYS, XLON, XTKS)") from None
    except ValueError as error:
        raise UserError(f"exchange {exchange!r} is not known from {first} to {last}: {error}") from None
    opens = [instant.to_pydatetime() for instant in known.schedule["open"]]
    closes = [instant.to_pydatetime() for instant in known.schedule["close"]]
    return tuple(Session(day.date(), o, c) for day, o, c in zip(known.schedule.index, opens, closes, strict=True))
