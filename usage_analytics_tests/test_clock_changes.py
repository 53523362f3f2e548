"""When clocks change, and which local times that concerns."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.clock_changes import ClockChange, clock_changes


@pytest.mark.parametrize(
    ("zone", "year", "found"),
    [
        ("America/New_York", 2026, [("03-08 02:00", "03-08 03:00", False), ("11-01 01:00", "11-01 02:00", True)]),
        ("Europe/London", 2026, [("03-29 01:00", "03-29 02:00", False), ("10-25 01:00", "10-25 02:00", True)]),
        ("Australia/Lord_Howe", 2026, [("04-05 01:30", "04-05 02:00", True), ("10-04 02:00", "10-04 02:30", False)]),
        ("America/Havana", 2026, [("03-08 00:00", "03-08 01:00", False), ("11-01 00:00", "11-01 01:00", True)]),
        ("America/St_Johns", 2010, [("03-14 00:01", "03-14 01:01", False), ("11-06 23:01", "11-07 00:01", True)]),
        ("Pacific/Apia", 2011, [("04-02 03:00", "04-02 04:00", True), ("09-24 03:00", "09-24 04:00", False),
                                ("12-30 00:00", "12-31 00:00", False)]),
        ("Asia/Tokyo", 2026, []),
        ("UTC", 2026, []),
    ],
)  # fmt: skip
def test_changes_of_a_year(zone: str, year: int, found: list[tuple[str, str, bool]]) -> None:
    expected = [
        ClockChange(*(datetime.strptime(f"{year}-{at}", "%Y-%m-%d %H:%M") for at in span), repeats)
        for *span, repeats in found
    ]
    assert clock_changes(ZoneInfo(zone), date(year, 1, 1), date(year, 12, 31)) == expected


def test_both_days_count_whole() -> None:
    zone, day = ZoneInfo("America/New_York"), date(2026, 11, 1)
    assert len(clock_changes(zone, day, day)) == 1
    assert clock_changes(zone, day + timedelta(days=1), day + timedelta(days=100)) == []
    assert clock_changes(zone, day - timedelta(days=100), day - timedelta(days=1)) == []


@pytest.mark.parametrize(
    "name", ["America/New_York", "Australia/Lord_Howe", "Europe/Dublin", "Antarctica/Casey", "Asia/Gaza"]
)
@given(data=st.data())
def test_local_times_happen_once_unless_a_change_says_otherwise(name: str, data: st.DataObject) -> None:
    zone = ZoneInfo(name)
    changes = clock_changes(zone, date(2010, 2, 1), date(2030, 1, 1))
    local = data.draw(st.sampled_from(changes)).start + timedelta(minutes=data.draw(st.integers(-300, 300)))
    instants = {local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    happens = [instant for instant in instants if instant.astimezone(zone).replace(tzinfo=None) == local]
    concerned = [change for change in changes if change.start <= local < change.end]
    assert all((local in change.minutes()) == (change in concerned) for change in changes)
    assert len(happens) == (1 if not concerned else 2 if concerned[0].repeats else 0)
