"""Dagster's partitions are the calendar's windows and trading days, whatever the clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from pathlib import Path

import dagster as dg
import hypothesis
import pytest
from clocks import clocks, instants_near_changes
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.clock_changes import clock_changes
from usage_analytics.errors import UserError
from usage_analytics.orchestration.partitions import (
    WINDOWS,
    closing_cron,
    trading_day_partitions,
    window_partitions,
)
from usage_analytics.settings import PREFIX, Settings
from usage_analytics.trading_calendar import TradingClock, Window

YEAR = (date(2025, 1, 1), date(2025, 12, 31))
LATER = datetime(2026, 2, 1, tzinfo=UTC)


def settings_of(exchange: str, timezone: str, opening: int = 0, closing: int = 24, minutes: int = 15) -> Settings:
    clock = TradingClock(exchange, timezone, opening, closing, minutes)
    return Settings(Path("nowhere"), clock=clock, history_start=YEAR[0])


def telling_weeks(settings: Settings) -> Iterator[list[date]]:
    """The days around each change of the clocks, and those of an ordinary week."""
    changes = [change.start.date() for change in clock_changes(settings.clock.zone, *YEAR)]
    for middle in (date(2025, 7, 16), *changes):
        yield [middle + timedelta(days=n) for n in range(-3, 4)]


def windows_of_telling_weeks(settings: Settings) -> list[list[Window]]:
    return [[w for day in week for w in settings.calendar.windows_of(day)] for week in telling_weeks(settings)]


# Every kind of change, on days with windows; XTAE trades on Sundays and changes its clocks on one.
ALL_DAY = [
    settings_of("24/7", "America/New_York"),
    settings_of("24/7", "America/New_York", minutes=60),
    settings_of("24/7", "Europe/Dublin", minutes=30),
    settings_of("24/7", "Australia/Lord_Howe"),
    settings_of("24/7", "Antarctica/Troll", minutes=20),
    settings_of("24/7", "America/Havana", minutes=30),
    settings_of("24/7", "Pacific/Chatham"),
    settings_of("24/7", "Asia/Kathmandu", minutes=60),
    settings_of("XTAE", "Asia/Jerusalem"),
    settings_of("XNYS", "Africa/Cairo"),
    settings_of("XNYS", "America/New_York"),
]
SHORTER = [
    settings_of("24/7", "America/New_York", 8, 17),
    settings_of("24/7", "America/New_York", 3, 22, minutes=60),
    settings_of("XNYS", "America/New_York", 0, 17),  # the clocks change on Sundays
    settings_of("XHKG", "Asia/Hong_Kong", 8, 9, minutes=60),
    settings_of("24/7", "America/New_York", 0, 1),
]


def named(settings: Settings) -> str:
    c = settings.clock
    return f"{c.exchange} {c.timezone} {c.opening_hour}-{c.closing_hour}/{c.window_minutes}"


@pytest.mark.parametrize("settings", ALL_DAY + SHORTER, ids=named)
def test_windows_are_the_calendars_through_clock_changes(settings: Settings) -> None:
    partitions = window_partitions(settings)
    for windows in windows_of_telling_weeks(settings):
        span = dg.TimeWindow(windows[0].start, windows[-1].end)
        assert list(partitions.get_partition_keys_in_time_window(span)) == [window.key for window in windows]
        with partition_loading_context(LATER):
            unknown = [window.key for window in windows if not partitions.has_partition_key(window.key)]
        assert unknown == []
        starts = {window.key: partitions.time_window_for_partition_key(window.key).start for window in windows}
        assert {key: start.astimezone(UTC) for key, start in starts.items()} == {w.key: w.start for w in windows}


@given(clock=clocks(), data=st.data())
@hypothesis.settings(max_examples=50)
def test_partitions_are_the_calendars_windows_or_the_clock_is_refused(clock: TradingClock, data: st.DataObject) -> None:
    settings = Settings(Path("nowhere"), clock=clock, history_start=date(2010, 1, 2))
    try:
        partitions = window_partitions(settings)
    except UserError as refused:
        assert str(refused).startswith("trading clock: within hours")
        return
    window = settings.calendar.window_at(data.draw(instants_near_changes(clock.timezone)))
    following = settings.calendar.window_at(window.end)
    span = dg.TimeWindow(window.start, following.end)
    assert list(partitions.get_partition_keys_in_time_window(span)) == [window.key, following.key]
    with partition_loading_context(datetime(2030, 2, 1, tzinfo=UTC)):
        assert partitions.has_partition_key(window.key)


@pytest.mark.parametrize("settings", ALL_DAY + SHORTER, ids=named)
def test_trading_days_take_the_windows_of_their_own_day(settings: Settings) -> None:
    windows, days = window_partitions(settings), trading_day_partitions(settings)
    for week in telling_weeks(settings):
        for day in [day for day in week[:-1] if settings.calendar.is_trading_day(day)]:
            mapped = dg.TimeWindowPartitionMapping().get_upstream_mapped_partitions_result_for_partitions(
                days.empty_subset().with_partition_keys([day.isoformat()]), days, windows, current_time=LATER
            )
            own = [window.key for window in settings.calendar.windows_of(day)]
            assert list(mapped.partitions_subset.get_partition_keys()) == own


def test_open_window_is_a_partition_in_the_repeated_hour() -> None:
    settings = settings_of("24/7", "America/New_York")
    partitions = window_partitions(settings)
    for minutes in range(0, 240, 5):
        now = datetime(2025, 11, 2, 4, 30, tzinfo=UTC) + timedelta(minutes=minutes)
        with partition_loading_context(now):
            assert partitions.has_partition_key(settings.calendar.window_at(now).key)


def test_usual_clock_needs_no_exceptions() -> None:
    assert WINDOWS.exclusions is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            settings_of("24/7", "America/New_York", 0, 17),
            "trading clock: within hours 0 to 17, America/New_York skips 2025-03-09 from 02:00 to 03:00: "
            "take hours without it, or all from 0 to 24",
        ),
        (settings_of("XTAE", "Asia/Jerusalem", 1, 20), "skips 2025-03-28 from 02:00 to 03:00: take hours without it"),
        (
            settings_of("24/7", "Australia/Lord_Howe", minutes=60),
            "repeats 2025-04-06 from 01:30 to 02:00: windows of 60 minutes do not fit it",
        ),
    ],
    ids=["hours that hold a change", "on a weekday", "windows longer than the change"],
)
def test_clock_that_dagster_cannot_follow_is_refused(settings: Settings, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        window_partitions(settings)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        settings_of("XNYS", "America/New_York", 8, 17),
        settings_of("XNYS", "America/New_York", 8, 24),
        settings_of("XSAU", "Asia/Riyadh", 0, 24),
        settings_of("24/7", "America/New_York", 0, 24),
    ],
    ids=named,
)
def test_close_is_due_five_minutes_after_the_last_hour_of_each_day(settings: Settings) -> None:
    clock, first = settings.clock, date(2025, 2, 24)
    days = [day for n in range(28) if settings.calendar.windows_of(day := first + timedelta(days=n))]
    closings = [datetime.combine(day, time()) + timedelta(hours=clock.closing_hour, minutes=5) for day in days]
    start = datetime.combine(first, time(), tzinfo=clock.zone) + timedelta(hours=1)  # the day before closed already
    ticks = ticks_of(closing_cron(settings, minute=5), clock.timezone, start, start + timedelta(days=28))
    assert [tick.replace(tzinfo=None) for tick in ticks] == closings


def test_close_at_midnight_is_on_the_next_weekday() -> None:
    assert closing_cron(settings_of("XNYS", "America/New_York", 8, 17), minute=0) == "0 17 * * 1,2,3,4,5"
    assert closing_cron(settings_of("XNYS", "America/New_York", 8, 24), minute=5) == "5 0 * * 2,3,4,5,6"


def ticks_of(crons: str | list[str], timezone: str, first: datetime, last: datetime) -> list[datetime]:
    ticks = schedule_execution_time_iterator(first.timestamp(), crons, timezone)
    return list(takewhile(lambda tick: tick < last, ticks))


# What another process makes of a clock of its own: the whole graph, not only the partitions.
LOAD = """
import json
from usage_analytics.orchestration.partitions import WINDOWS
from usage_analytics.definitions import defs
schedules = {schedule.name: schedule.cron_schedule for schedule in defs.schedules}
print(json.dumps([schedules, *map(WINDOWS.has_partition_key, ["2025-11-02T0145", "2025-11-02T0245"])]))
"""


def test_graph_of_a_clock_that_never_closes() -> None:
    clock = {"EXCHANGE": "24/7", "OPENING_HOUR": "0", "CLOSING_HOUR": "24"}
    environment = {**os.environ, **{PREFIX + name: value for name, value in clock.items()}}
    done = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=True)
    schedules, *known = json.loads(done.stdout)
    assert known == [True, True]
    assert schedules["close_trading_day"] == "5 0 * * 2,3,4,5,6,0,1"
    # Through the repeated hour too, what waits is flushed each quarter of an hour, into the window that is open.
    first = datetime(2025, 11, 2, 4, tzinfo=UTC)
    flushes = ticks_of(schedules["flush_window"], "America/New_York", first, first + timedelta(hours=30))
    assert [tick.astimezone(UTC) for tick in flushes] == [first + n * timedelta(minutes=15) for n in range(120)]


def test_history_may_start_on_a_weekend() -> None:
    settings = Settings(Path("nowhere"), history_start=date(2025, 3, 8))
    with partition_loading_context(LATER):
        assert window_partitions(settings).get_first_partition_key() == "2025-03-10T0800"
        assert trading_day_partitions(settings).get_first_partition_key() == "2025-03-10"
