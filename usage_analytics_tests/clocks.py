"""Trading clocks of all kinds, and instants around the changes of their time zones, for property tests."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from usage_analytics.clock_changes import clock_changes
from usage_analytics.trading_calendar import TradingClock

# Changes by an hour, by half of one, by three, at midnight, a minute past it, by a negative hour in winter, by a day.
ZONES = [
    "America/New_York", "Australia/Lord_Howe", "Antarctica/Casey", "America/Havana", "America/St_Johns",
    "Europe/Dublin", "Pacific/Apia", "Africa/Cairo", "Asia/Pyongyang", "Pacific/Chatham",
]  # fmt: skip
CHANGES = {zone: clock_changes(ZoneInfo(zone), date(2010, 2, 1), date(2030, 1, 1)) for zone in ZONES}


@st.composite
def clocks(draw: st.DrawFn) -> TradingClock:
    opening = draw(st.integers(0, 23))
    closing = draw(st.integers(opening + 1, 24))
    opening, closing = draw(st.sampled_from([(0, 24), (opening, closing)]))
    minutes = draw(st.sampled_from([n for n in range(5, 61) if 60 % n == 0]))
    exchange = draw(st.sampled_from(["24/7", "XNYS"]))  # of the first, windows start on the days of changes too
    return TradingClock(exchange, draw(st.sampled_from(ZONES)), opening, closing, minutes)


@st.composite
def instants_near_changes(draw: st.DrawFn, zone: str) -> datetime:
    change = draw(st.sampled_from(CHANGES[zone]))
    local = change.start + timedelta(seconds=draw(st.integers(-3 * 86_400, 3 * 86_400)))
    return local.replace(tzinfo=ZoneInfo(zone), fold=draw(st.integers(0, 1)))
