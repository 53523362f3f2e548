"""Windows tile all time; trading days and phases follow the exchange."""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from clocks import clocks, instants_near_changes
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.trading_calendar import TradingCalendar, TradingClock, trading_calendar

NEW_YORK = ZoneInfo("America/New_York")
CALENDAR = trading_calendar()
CLOCKS = [
    TradingClock(),
    TradingClock(window_minutes=60, opening_hour=0, closing_hour=24),
    TradingClock(exchange="XLON", timezone="Europe/London", window_minutes=5),
    TradingClock(exchange="XTKS", timezone="Asia/Tokyo", window_minutes=30),
    TradingClock(exchange="XLON"),  # hours that are not the exchange's
    TradingClock(timezone="Pacific/Auckland"),  # opens while the session before is held
    TradingClock(exchange="24/7", timezone="Asia/Tokyo", opening_hour=13, closing_hour=20),
]
INSTANTS = st.datetimes(datetime(2010, 1, 4), datetime(2027, 6, 1), timezones=st.just(UTC))


def local(*parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK, fold=fold)  # type: ignore[arg-type]


@pytest.mark.parametrize("clock", CLOCKS, ids=str)
@given(instant=INSTANTS)
def test_every_instant_is_in_exactly_one_window(clock: TradingClock, instant: datetime) -> None:
    assert_tiled_around(trading_calendar(clock), instant)


@given(clock=clocks(), data=st.data())
def test_windows_tile_whatever_the_clock_and_the_zone(clock: TradingClock, data: st.DataObject) -> None:
    instant = data.draw(instants_near_changes(clock.timezone))
    assert_tiled_around(trading_calendar(clock), instant)
    # Nothing else than a window's own start makes its key.
    window = trading_calendar(clock).window_at(instant)
    assert window.key == window.start.astimezone(clock.zone).strftime("%Y-%m-%dT%H%M")
    start = window.start.astimezone(clock.zone)
    assert start.hour in clock.hours and start.minute % clock.window_minutes == 0


def assert_tiled_around(calendar: TradingCalendar, instant: datetime) -> None:
    window = calendar.window_at(instant)
    moment = instant.astimezone(UTC)  # two times of one zone are compared by their digits
    assert window.start <= moment < window.end
    assert calendar.window_at(window.start) == window
    assert calendar.window_at(window.end - timedelta(microseconds=1)) == window
    after, before = calendar.window_at(window.end), calendar.window_at(window.start - timedelta(microseconds=1))
    assert (after.start, before.end) == (window.end, window.start)
    assert before.key < window.key < after.key
    assert calendar.window_from_key(window.key) == window


@pytest.mark.parametrize("clock", CLOCKS, ids=str)
@given(instant=INSTANTS, hours=st.integers(0, 200))
def test_phase_intervals_tile_and_agree_with_those_of_an_instant(
    clock: TradingClock, instant: datetime, hours: int
) -> None:
    calendar = trading_calendar(clock)
    intervals = calendar.phase_intervals(instant, instant + timedelta(hours=hours))
    starts = [interval.start for interval in intervals]
    assert starts == sorted(starts)
    assert starts[0] <= instant
    for at in (instant, instant + timedelta(hours=hours / 2), instant + timedelta(hours=hours)):
        holding = [interval for interval in intervals if interval.start <= at][-1]
        assert holding.trading_day == calendar.trading_day_at(at)
        assert holding.phase == calendar.phase_at(at)


@pytest.mark.parametrize("day", [date(2026, 3, 9), date(2026, 11, 2), date(2026, 11, 23)])
def test_days_around_clock_changes_have_36_windows_of_15_minutes(day: date) -> None:
    windows = CALENDAR.windows_of(day)
    assert len(windows) == 36
    assert windows[0].start == local(day.year, day.month, day.day, 8)
    assert {w.end - w.start for w in windows[:-1]} == {timedelta(minutes=15)}
    assert windows[-1].end == CALENDAR.windows_of(day + timedelta(days=1))[0].start


def test_last_window_of_a_week_lasts_over_a_clock_change() -> None:
    window = CALENDAR.window_at(local(2026, 3, 8, 12))
    assert window.key == "2026-03-06T1645"
    assert window.end == local(2026, 3, 9, 8)
    assert window.end - window.start == timedelta(hours=63, minutes=15) - timedelta(hours=1)  # spring: an hour is lost
    twice = [CALENDAR.window_at(local(2026, 11, 1, 1, 30, fold=fold)) for fold in (0, 1)]
    assert twice[0] == twice[1] == CALENDAR.window_from_key("2026-10-30T1645")


ALL_DAY = {"exchange": "24/7", "opening_hour": 0, "closing_hour": 24}


def starts_of(timezone: str, day: date, hours: range, **clock: int) -> dict[str, timedelta]:
    """The windows that start in some hours of a day, and how long each lasts."""
    windows = trading_calendar(TradingClock(timezone=timezone, **{**ALL_DAY, **clock})).windows_of(day)  # type: ignore[arg-type]
    return {w.key[11:]: w.end - w.start for w in windows if int(w.key[11:13]) in hours}


def test_second_pass_of_a_repeated_hour_belongs_to_the_last_window_of_the_first() -> None:
    day, quarter = date(2026, 11, 1), timedelta(minutes=15)
    assert starts_of("America/New_York", day, range(1, 3)) == {
        "0100": quarter, "0115": quarter, "0130": quarter, "0145": 5 * quarter,
        "0200": quarter, "0215": quarter, "0230": quarter, "0245": quarter,
    }  # fmt: skip
    calendar = trading_calendar(TradingClock(**ALL_DAY, timezone="America/New_York"))  # type: ignore[arg-type]
    held = [calendar.window_at(local(2026, 11, 1, 1, minute, fold=1)).key for minute in (0, 15, 59)]
    assert held == ["2026-11-01T0145"] * 3
    assert calendar.window_at(local(2026, 11, 1, 1, 0)).key == "2026-11-01T0100"


def test_slots_of_a_missing_hour_do_not_exist() -> None:
    quarter = timedelta(minutes=15)
    assert list(starts_of("America/New_York", date(2026, 3, 8), range(1, 4)).items())[3:5] == [
        ("0145", quarter), ("0300", quarter),
    ]  # fmt: skip
    calendar = trading_calendar(TradingClock(**ALL_DAY, timezone="America/New_York"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="window '2026-03-08T0215': no window starts then"):
        calendar.window_from_key("2026-03-08T0215")


def test_clocks_that_change_by_half_an_hour_or_at_midnight() -> None:
    half, hour = timedelta(minutes=30), timedelta(hours=1)
    howe, havana = "Australia/Lord_Howe", "America/Havana"
    assert starts_of(howe, date(2026, 4, 5), range(1, 3), window_minutes=30) == {
        "0100": half, "0130": 2 * half, "0200": half, "0230": half,
    }  # fmt: skip
    assert starts_of(howe, date(2026, 10, 4), range(1, 3), window_minutes=30) == {
        "0100": half, "0130": half, "0230": half,
    }  # fmt: skip
    assert starts_of(howe, date(2026, 4, 5), range(1, 3), window_minutes=60) == {"0100": hour + half, "0200": hour}
    assert starts_of(havana, date(2026, 11, 1), range(2), window_minutes=60) == {"0000": 2 * hour, "0100": hour}
    assert min(starts_of(havana, date(2026, 3, 8), range(24), window_minutes=60)) == "0100"
    assert starts_of("Pacific/Apia", date(2011, 12, 30), range(24)) == {}  # a day that Samoa left out


def test_evening_that_is_repeated_from_past_midnight_belongs_to_the_next_days_first_window() -> None:
    zone = ZoneInfo("America/St_Johns")  # until 2011, clocks went back a minute past midnight
    calendar = trading_calendar(TradingClock(**ALL_DAY, timezone=str(zone)))  # type: ignore[arg-type]
    evening = datetime(2010, 11, 6, 23, 30, tzinfo=zone)
    held = [calendar.window_at(at).key for at in (evening, evening.replace(fold=1))]
    assert held == ["2010-11-06T2330", "2010-11-07T0000"]


def test_half_day_closes_early() -> None:
    phases = [CALENDAR.phase_at(local(2026, 11, 27, *at)) for at in [(8,), (9, 30), (10,), (12, 29), (12, 30), (13,)]]
    assert phases == ["pre_open", "opening", "midday", "midday", "closing", "after_close"]
    assert CALENDAR.phase_at(local(2026, 11, 27, 17)) == "overnight"
    assert CALENDAR.phase_at(local(2026, 11, 25, 13)) == "midday"


def test_holidays_weekends_and_nights_belong_to_the_session_before() -> None:
    assert not CALENDAR.is_trading_day(date(2026, 11, 26))
    assert CALENDAR.holidays(date(2026, 11, 20), date(2026, 11, 30)) == [date(2026, 11, 26)]
    assert CALENDAR.trading_day_at(local(2026, 11, 26, 12)) == date(2026, 11, 25)
    assert CALENDAR.trading_day_at(local(2026, 11, 27, 7, 59)) == date(2026, 11, 25)
    assert CALENDAR.trading_day_at(local(2026, 11, 27, 8)) == date(2026, 11, 27)
    assert CALENDAR.trading_day_at(local(2026, 11, 29, 23)) == date(2026, 11, 27)
    assert CALENDAR.windows_of(date(2026, 11, 28)) == []
    assert len(CALENDAR.windows_of(date(2026, 11, 26))) == 36  # windows run on a holiday: messages may come


def test_clock_that_opens_in_the_afternoon_has_trading_days() -> None:
    calendar = trading_calendar(TradingClock(opening_hour=13, closing_hour=20))
    assert calendar.is_trading_day(date(2026, 11, 25))
    assert not calendar.is_trading_day(date(2026, 11, 26))
    assert calendar.latest_closed_day(local(2026, 11, 25, 20)) == date(2026, 11, 25)


def test_first_days_of_the_calendar_have_a_trading_day() -> None:
    first = datetime(2010, 1, 1, tzinfo=UTC)  # a holiday, and the earliest event time that a mapping accepts
    assert CALENDAR.trading_day_at(first) == date(2009, 12, 31)
    for unknown in (datetime(2009, 1, 1, tzinfo=UTC), datetime(2041, 1, 2, tzinfo=UTC)):
        with pytest.raises(UserError, match="is in no trading day known of XNYS, 2009-12-01 to 2040-12-31"):
            CALENDAR.trading_day_at(unknown)


# The exchanges of exchange_calendars that are not known for all years from 2010 to 2040.
@pytest.mark.parametrize(
    ("exchange", "first", "last"),
    [
        ("AIXK", date(2017, 1, 4), date(2040, 12, 31)),
        ("XSAU", date(2021, 1, 3), date(2029, 12, 31)),
        ("XBOM", date(2009, 12, 1), None),  # as far as holidays have been announced
        ("XSES", date(2009, 12, 1), None),
        ("XSHG", date(2009, 12, 1), None),
    ],
)
def test_exchange_with_a_short_history_is_covered_as_far_as_it_is_known(
    exchange: str, first: date, last: date | None
) -> None:
    calendar = trading_calendar(TradingClock(exchange=exchange, timezone="Asia/Singapore"))
    assert (calendar.sessions[0].day, last or calendar.sessions[-1].day) == (first, calendar.sessions[-1].day)
    end, second = calendar.known_until, timedelta(seconds=1)
    assert calendar.trading_day_at(calendar.known_from) == first
    assert calendar.trading_day_at(end - second) == calendar.sessions[-1].day
    assert [calendar.covers(at) for at in (calendar.known_from - second, end - second, end)] == [False, True, False]
    for unknown in (calendar.known_from - second, end):
        with pytest.raises(UserError, match=f"is in no trading day known of {exchange}"):
            calendar.trading_day_at(unknown)
    assert calendar.latest_closed_day(end + timedelta(days=100)) == calendar.sessions[-1].day
    assert calendar.window_at(end + timedelta(days=100)).end > end  # windows ask no exchange


def test_windows_and_trading_days_start_on_whatever_weekday_the_exchange_opens() -> None:
    # Tel Aviv traded from Sunday to Thursday until 2025, and from Monday to Friday since.
    calendar = trading_calendar(TradingClock(exchange="XTAE", timezone="Asia/Jerusalem"))
    sunday, friday = date(2025, 3, 2), date(2026, 3, 6)
    assert sorted(calendar.weekdays) == [0, 1, 2, 3, 4, 6]
    assert [calendar.is_trading_day(day) for day in (sunday, friday)] == [True, True]
    assert calendar.holidays(date(2025, 3, 2), date(2025, 3, 8)) == [date(2025, 3, 7)]
    assert len(calendar.windows_of(sunday)) == 36


def test_fingerprint_changes_with_clock_and_sessions() -> None:
    others = [dataclasses.replace(CALENDAR, sessions=CALENDAR.sessions[:-1]), *map(trading_calendar, CLOCKS[1:])]
    assert trading_calendar(TradingClock()).fingerprint == CALENDAR.fingerprint
    assert len({CALENDAR.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_latest_closed_day() -> None:
    assert CALENDAR.latest_closed_day(local(2026, 11, 23, 16, 59)) == date(2026, 11, 20)
    assert CALENDAR.latest_closed_day(local(2026, 11, 23, 17)) == date(2026, 11, 23)
    assert CALENDAR.latest_closed_day(local(2026, 11, 24, 7)) == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("yesterday", "window 'yesterday': expected a local start such as 2026-11-23T0815"),
        (
            "2026-11-23T0816",
            "window '2026-11-23T0816': no window starts then; the one that holds it is 2026-11-23T0815",
        ),
        ("2026-11-22T0815", "no window starts then; the one that holds it is 2026-11-20T1645"),
        ("2026-11-01T0130-0500", "expected a local start such as 2026-11-23T0815"),
        ("0001-01-01T0000", "expected a local start such as 2026-11-23T0815"),
    ],
)
def test_bad_key(key: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        CALENDAR.window_from_key(key)


@pytest.mark.parametrize(
    ("clock", "sentence"),
    [
        ({"exchange": "XMARS"}, "exchange 'XMARS' is not in exchange_calendars"),
        ({"timezone": "Mars/Base"}, "time zone 'Mars/Base' is not known"),
        ({"timezone": "right/UTC"}, "time zone 'right/UTC' is not known: no name in the IANA database"),
        ({"timezone": "localtime"}, "time zone 'localtime' is not known: no name in the IANA database"),
        ({"opening_hour": 17, "closing_hour": 8}, "hours 17 to 8 are not an opening before a closing"),
        ({"closing_hour": 25}, "hours 8 to 25"),
        ({"window_minutes": 7}, "7 window minutes do not divide an hour"),
        ({"window_minutes": 0}, "0 window minutes do not divide an hour"),
    ],
)
def test_bad_clock(clock: dict[str, str | int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        trading_calendar(TradingClock(**clock))  # type: ignore[arg-type]
