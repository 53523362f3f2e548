"""Windows and trading days as Dagster partitions; bounded by definition, present in an empty instance."""

from datetime import UTC, date, datetime, time, timedelta

import dagster as dg

from usage_analytics.settings import Settings, load_settings
from usage_analytics.trading_calendar import WINDOW_KEY_FORMAT


def _windows(settings: Settings) -> dg.TimeWindowPartitionsDefinition:
    clock, calendar = settings.clock, settings.calendar
    hours = f"{clock.opening_hour}-{clock.closing_hour - 1}"
    first = next(day for n in range(7) if calendar.windows_of(day := settings.history_start + timedelta(days=n)))
    return dg.TimeWindowPartitionsDefinition(
        cron_schedule=f"*/{clock.window_minutes} {hours} * * {_cron_weekdays(settings)}",
        start=calendar.windows_of(first)[0].key,
        timezone=clock.timezone,
        fmt=WINDOW_KEY_FORMAT,
        end_offset=1,  # the open window is a partition too: micro-batches go there
    )


def _trading_days(settings: Settings) -> dg.TimeWindowPartitionsDefinition:
    clock, calendar = settings.clock, settings.calendar
    holidays = calendar.holidays(settings.history_start, datetime.now(UTC).date() + timedelta(days=14))
    opening = time(clock.opening_hour)
    return dg.TimeWindowPartitionsDefinition(
        cron_schedule=f"0 {clock.opening_hour} * * {_cron_weekdays(settings)}",
        start=settings.history_start.isoformat(),
        timezone=clock.timezone,
        fmt="%Y-%m-%d",
        end_offset=1,  # a day is closed in its own evening, before the next one starts
        exclusions=[datetime.combine(day, opening, tzinfo=clock.zone) for day in holidays],
    )


def _cron_weekdays(settings: Settings) -> str:
    return ",".join(str((day + 1) % 7) for day in sorted(settings.calendar.weekdays))


def trading_day_of(key: str) -> date:
    return date.fromisoformat(key)


SETTINGS = load_settings()
WINDOWS = _windows(SETTINGS)
TRADING_DAYS = _trading_days(SETTINGS)
