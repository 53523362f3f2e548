"""What cannot be simulated is refused with a sentence."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation.simulated import scenario

from usage_analytics.errors import UserError
from usage_analytics.simulation.scenario import Scenario, Trouble, trading_days


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"days": ()}, "at least one day is needed"),
        ({"days": (date(2026, 11, 26),)}, "2026-11-26 is no trading day of XNYS"),
        ({"days": (date(2026, 11, 22),)}, "2026-11-22 is no trading day of XNYS"),
        ({"exchanges": ("XMARS",)}, "exchange 'XMARS' is not in exchange_calendars"),
        ({"exchanges": ()}, "at least one exchange is needed"),
        ({"exchanges": ("XNYS", "XNYS")}, "an exchange is named twice"),
        ({"messages_per_day": -5}, "-5 messages a day of 20,000 users are -0.0 each; from 10 to 2,000 are possible"),
        ({"messages_per_day": 10**9}, "1,000,000,000 messages a day of 20,000 users are 50,000.0 each"),
        ({"users": 0}, "there is at least one user, found 0"),
        ({"lanes": 0}, "lanes (--partitions) are 1 to 10,000, found 0"),
        ({"lanes": 10**10}, "lanes (--partitions) are 1 to 10,000, found 10,000,000,000"),
        ({"seed": -1}, "the seed is a number from 0 to 2**64 - 1, found -1"),
        ({"seed": 2**64 + 7}, "the seed is a number from 0 to 2**64 - 1, found 18446744073709551623"),
        ({"spread": -0.5}, "the spread is from 0 to 3, found -0.5"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UserError) as refused:
        Scenario(**{"days": (date(2026, 11, 20),), **changes})  # type: ignore[arg-type]
    assert told in str(refused.value)


@given(st.one_of(st.floats(max_value=-1e-9), st.floats(min_value=0.51), st.just(float("nan"))))
def test_rates_are_shares(rate: float) -> None:
    with pytest.raises(UserError, match="simulation: late is a share"):
        Trouble(late=rate)


def test_counts_of_episodes_are_few_enough_never_to_meet() -> None:
    for count in (-1, 10):
        with pytest.raises(UserError, match=f"outages_per_day is a number from 0 to 9, found {count}"):
            Trouble(outages_per_day=count)


def test_trading_days_are_those_of_any_exchange() -> None:
    first, last = date(2026, 11, 23), date(2026, 11, 29)
    assert [day.day for day in trading_days(("XNYS",), first, last)] == [23, 24, 25, 27]
    assert [day.day for day in trading_days(("XNYS", "XLON"), first, last)] == [23, 24, 25, 26, 27]


def test_the_story_begins_four_weeks_before_unless_told() -> None:
    assert scenario(date(2026, 11, 20), date(2026, 11, 23)).start == date(2026, 10, 23)
    assert scenario(story_start=date(2026, 1, 5)).start == date(2026, 1, 5)
