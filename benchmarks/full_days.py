"""Trading days that are comparable from run to run: those on which the exchange does not close early."""

from datetime import UTC, date, datetime

from usage_analytics.settings import Settings


def full_days(settings: Settings, count: int) -> tuple[date, ...]:
    """The latest closed trading days that are as long as any, oldest first."""
    latest = settings.calendar.latest_closed_day(datetime.now(UTC))
    past = [session for session in settings.calendar.sessions if session.day <= latest]
    longest = max(session.closes - session.opens for session in past)
    return tuple([session.day for session in past if session.closes - session.opens == longest][-count:])
