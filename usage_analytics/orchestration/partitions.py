"""Windows and trading days as Dagster partitions; bounded by definition, present in an empty instance."""

from datetime import UTC, date, datetime, time, timedelta

import dagster as dg

from usage_analytics.clock_changes import ClockChange, clock_changes
from usage_analytics.errors import UserError
from usage_analytics.settings import Settings, load_settings
from usage_analytics.trading_calendar import LAST_DAY, WINDOW_KEY_FORMAT


def window_partitions(settings: Settings) -> dg.TimeWindowPartitionsDefinition:
    """The calendar's windows from the start of the history until the open one.

    A clock that Dagster cannot follow through a change of the clocks is a `UserError`.
    """
    clock, calendar = settings.clock, settings.calendar
    first_hour, last_hour = clock.hours[0], clock.hours[-1]
    hours = f"{first_hour}-{last_hour}" if first_hour < last_hour else f"{first_hour}"  # 8-8 would be every hour
    first = next(day for n in range(7) if calendar.windows_of(day := settings.history_start + timedelta(days=n)))
    return dg.TimeWindowPartitionsDefinition(
        cron_schedule=f"*/{clock.window_minutes} {hours} * * {_cron_weekdays(settings)}",
        start=calendar.windows_of(first)[0].key,
        timezone=clock.timezone,
        fmt=WINDOW_KEY_FORMAT,
        end_offset=1,  # the open window is a partition too: micro-batches go there
        exclusions=_second_passes(settings),
    )


def trading_day_partitions(settings: Settings) -> dg.TimeWindowPartitionsDefinition:
    """The exchange's trading days from the start of the history until the open one."""
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


def _second_passes(settings: Settings) -> list[datetime]:
    """What the windows' cron ticks besides the windows' starts: the second pass of repeated hours.

    Only of a cron that names every hour does Dagster skip missing hours and tick twice in repeated ones; of another it
    moves ticks to where no window starts. A change that is no whole number of windows also shifts later ticks.
    """
    clock, ticks = settings.clock, []
    for change in clock_changes(clock.zone, settings.history_start, LAST_DAY):
        met = [m for m in change.minutes() if m.weekday() in settings.calendar.weekdays and m.hour in clock.hours]
        if met and len(clock.hours) < 24:
            raise UserError(f"{_described(settings, change)}: take hours without it, or all from 0 to 24")
        if met and change.length % timedelta(minutes=clock.window_minutes):
            raise UserError(f"{_described(settings, change)}: windows of {clock.window_minutes} minutes do not fit it")
        if change.repeats:
            ticks += [minute.replace(fold=1) for minute in met if minute.minute % clock.window_minutes == 0]
    return ticks


def _described(settings: Settings, change: ClockChange) -> str:
    clock = settings.clock
    span = f"{change.start:%Y-%m-%d from %H:%M} to {change.end:%H:%M}"
    kind = "repeats" if change.repeats else "skips"
    hours = f"hours {clock.opening_hour} to {clock.closing_hour}"
    return f"trading clock: within {hours}, {clock.timezone} {kind} {span}"


def closing_cron(settings: Settings, minute: int) -> str:
    """The cron of so many minutes after the clock's closing; a day that closes at midnight does so on the next."""
    days_later, hour = divmod(settings.clock.closing_hour, 24)
    return f"{minute} {hour} * * {_cron_weekdays(settings, days_later)}"


def _cron_weekdays(settings: Settings, days_later: int = 0) -> str:
    return ",".join(str((day + 1 + days_later) % 7) for day in sorted(settings.calendar.weekdays))


def trading_day_of(key: str) -> date:
    return date.fromisoformat(key)


SETTINGS = load_settings()
WINDOWS = window_partitions(SETTINGS)
TRADING_DAYS = trading_day_partitions(SETTINGS)
