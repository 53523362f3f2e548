"""The fingerprint of enrichment: it changes with each thing that can change a usage event, and with nothing else."""

import dataclasses
from datetime import timedelta

import duckdb
import pytest
from fakes import KEY

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.fingerprint import enrichment_fingerprint
from usage_analytics.trading_calendar import TradingCalendar, TradingClock, trading_calendar

CONTRACT, CALENDAR = load_mapping("usage_event"), trading_calendar()
NOW = enrichment_fingerprint(CONTRACT, CALENDAR, KEY)


def with_sessions(count: int, earlier_close: timedelta = timedelta(0)) -> TradingCalendar:
    """The calendar with its first sessions only, the last of them closing earlier."""
    *before, last = CALENDAR.sessions[:count]
    changed = dataclasses.replace(last, closes=last.closes - earlier_close)
    return dataclasses.replace(CALENDAR, sessions=(*before, changed))


def test_it_is_the_same_in_every_process() -> None:
    trading_calendar.cache_clear()
    assert enrichment_fingerprint(load_mapping("usage_event"), trading_calendar(), bytes(KEY)) == NOW
    assert len(NOW) == 16 and int(NOW, 16) >= 0
    assert enrichment_fingerprint(CONTRACT, with_sessions(len(CALENDAR.sessions)), KEY) == NOW


def test_it_changes_with_mapping_key_and_clock() -> None:
    others = {
        enrichment_fingerprint(load_mapping("wikipedia_app_events"), CALENDAR, KEY),
        enrichment_fingerprint(CONTRACT, CALENDAR, b"another key, also long"),
        enrichment_fingerprint(CONTRACT, trading_calendar(TradingClock(opening_hour=7)), KEY),
        enrichment_fingerprint(CONTRACT, trading_calendar(TradingClock(exchange="XLON")), KEY),
    }
    assert len({NOW, *others}) == 5


def test_it_changes_with_the_sessions_that_the_library_knows() -> None:
    a_holiday_more = with_sessions(len(CALENDAR.sessions) - 1)
    an_early_close = with_sessions(len(CALENDAR.sessions), timedelta(hours=3))
    fingerprints = [enrichment_fingerprint(CONTRACT, other, KEY) for other in (a_holiday_more, an_early_close)]
    assert len({NOW, *fingerprints}) == 3


def test_it_changes_with_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb, "__version__", "2.0.1")
    assert enrichment_fingerprint(CONTRACT, CALENDAR, KEY) != NOW
