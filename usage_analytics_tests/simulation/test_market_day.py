"""The simulated day keeps the exchange's hours."""

from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pytest
from simulation.simulated import scenario

from usage_analytics.simulation.market_day import AFTER_CLOSE, BEFORE_OPEN, PHASES, day_factor, market_day
from usage_analytics.simulation.scenario import Trouble, trading_days

ORDINARY, HALF = date(2026, 11, 20), date(2026, 11, 27)


def hours(day: date, exchange: str = "XNYS") -> tuple[datetime, datetime]:
    """When the simulated work of an exchange begins and ends."""
    [found] = market_day(scenario(day, exchanges=(exchange,)), day).exchanges
    ends = (found.first_minute, found.first_minute + len(found.starts))
    return datetime.fromtimestamp(ends[0] * 60, UTC), datetime.fromtimestamp(ends[1] * 60, UTC)


@pytest.mark.parametrize(
    ("day", "exchange", "begins", "ends"),
    [
        (ORDINARY, "XNYS", "13:00", "22:00"),
        (HALF, "XNYS", "13:00", "19:00"),  # the day after Thanksgiving closes at 13:00
        (date(2026, 3, 6), "XNYS", "13:00", "22:00"),  # before the clocks change
        (date(2026, 3, 9), "XNYS", "12:00", "21:00"),  # and after
        (ORDINARY, "XLON", "06:30", "17:30"),
        (date(2026, 6, 15), "XLON", "05:30", "16:30"),
        (ORDINARY, "XTKS", "22:30", "07:30"),
    ],
)
def test_work_follows_the_bells(day: date, exchange: str, begins: str, ends: str) -> None:
    assert [f"{end:%H:%M}" for end in hours(day, exchange)] == [begins, ends]


def test_a_half_day_has_fewer_messages_and_no_lunch() -> None:
    whole = market_day(scenario(ORDINARY), ORDINARY).exchanges[0]
    half = market_day(scenario(HALF), HALF).exchanges[0]
    per_minute = whole.starts.sum() / len(whole.starts)
    assert half.starts.sum() < 0.8 * whole.starts.sum()
    trading = whole.starts[BEFORE_OPEN:-AFTER_CLOSE]
    assert trading[195:225].mean() < 0.75 * trading[60:120].mean(), "lunch"
    assert half.starts[BEFORE_OPEN + 60 : -AFTER_CLOSE - 40].std() < 1e-9 * per_minute + half.starts.mean() * 0.01


def test_phases_are_in_order_and_the_bells_are_busiest() -> None:
    [day] = market_day(scenario(ORDINARY), ORDINARY).exchanges
    assert (np.diff(day.phases) >= 0).all()
    means = {name: day.starts[day.phases == number].mean() for number, name in enumerate(PHASES)}
    assert min(means["opening"], means["closing"]) > 1.3 * means["midday"] > means["pre_open"] > 0
    assert means["midday"] > means["after_close"]


def test_month_ends_are_busier_and_holidays_silent() -> None:
    chosen = scenario(ORDINARY)
    days = trading_days(("XNYS",), date(2026, 1, 1), date(2026, 12, 31))
    assert date(2026, 11, 26) not in days
    assert len(days) == 251
    ends = [day for day, following in pairwise(days) if day.month != following.month]
    factors = {day: day_factor(chosen, day, "XNYS") for day in days}
    assert np.mean([factors[day] for day in ends]) > 1.15 * np.mean(list(factors.values()))


def test_exchanges_keep_hours_of_their_own_and_one_may_be_closed() -> None:
    day = date(2026, 11, 26)  # Thanksgiving
    market = market_day(scenario(day, exchanges=("XNYS", "XLON", "XTKS")), day)
    assert [exchange.exchange for exchange in market.exchanges] == ["XLON", "XTKS"]
    assert market.slices == sorted(market.slices)


def test_episodes_lie_within_trading_hours_and_apart() -> None:
    for day in trading_days(("XNYS",), date(2026, 10, 1), date(2026, 11, 20)):
        market = market_day(scenario(day, trouble=Trouble()), day)
        [exchange] = market.exchanges
        opens = (exchange.first_minute + BEFORE_OPEN) * 60_000_000
        closes = (exchange.first_minute + len(exchange.starts) - AFTER_CLOSE) * 60_000_000
        assert all(opens <= episode.start_us < episode.end_us <= closes for episode in market.episodes)
        for kind in ("news_spike", "latency_incident"):
            first, second = sorted(e.start_us for e in market.episodes if e.kind == kind)
            end = next(e.end_us for e in market.episodes if e.kind == kind and e.start_us == first)
            assert end <= second
