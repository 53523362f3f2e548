"""The price of preloads is the lowest that keeps the back end within its capacity, also at a simulated market open."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.second_order_world import World, economics, world
from simulation.simulated import scenario

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget, choose_many
from usage_analytics.serving.decisions.moments import NONE, Moments
from usage_analytics.serving.decisions.prices import (
    Demand,
    busiest_minute,
    by_minute,
    by_slot,
    expected_calls,
    preload_demand,
    slot_prices,
)
from usage_analytics.serving.judging.policies import ExpectedValue
from usage_analytics.simulation.market_day import BEFORE_OPEN, market_day
from usage_analytics.simulation.scenario import trading_days

DAYS = trading_days(("XNYS",), date(2026, 11, 9), date(2026, 11, 20))
BUDGET = Budget(3, 600_000)
SLOT = 5  # minutes


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    ratios = draw(st.lists(st.integers(11, 90), max_size=8))
    shares = draw(st.lists(st.integers(1, 9), min_size=len(ratios), max_size=len(ratios)))
    return Demand(np.sort(np.array(ratios, np.float64))[::-1] / 10, np.cumsum(np.array(shares, np.float64)) / 10)


LOADS = st.lists(st.integers(0, 120), min_size=1, max_size=12).map(lambda calls: np.array(calls, np.float64))


@settings(max_examples=300, deadline=None)
@given(demands(), LOADS, st.integers(1, 5))
def test_the_price_is_the_lowest_that_keeps_within_the_capacity(demand: Demand, calls: Floats, slot: int) -> None:
    prices = slot_prices(calls, 100.0, demand, slot)
    assert len(prices) == -(-len(calls) // slot)
    assert (prices >= 1.0).all()
    load = calls * (1 + demand.at(by_minute(prices, len(calls), slot)))
    assert (load <= np.maximum(100.0, calls) * (1 + 1e-9)).all()
    for number, price in enumerate(prices):
        minutes = calls[number * slot : (number + 1) * slot]
        for lower in [1.0, *demand.ratios[demand.ratios < price * (1 - 1e-9)]]:
            if lower < price:
                assert (minutes * (1 + demand.at(lower)) > 100.0 * (1 - 1e-9)).any(), "a lower price would do"


@settings(max_examples=150, deadline=None)
@given(demands(), LOADS, st.integers(0, 40), st.integers(0, 50))
def test_prices_rise_with_the_load_and_fall_with_the_capacity(
    demand: Demand, calls: Floats, busier: int, larger: int
) -> None:
    usual = slot_prices(calls, 100.0, demand, SLOT)
    assert (slot_prices(calls + busier, 100.0, demand, SLOT) >= usual).all()
    assert (slot_prices(calls, 100.0 + larger, demand, SLOT) <= usual).all()
    asked = demand.at(np.linspace(1, 10, 40))
    assert (np.diff(asked) <= 0).all()


def test_demand_counts_what_is_worth_a_price_as_often_as_its_moment_is_met() -> None:
    figures = Economics(("charts", "chat", "quotes"), np.full(3, 100.0), np.array([10.0, 10.0, 0.0]), np.ones(3))
    probabilities = np.array([[0.5, 0.4, 0.1], [0.2, 0.05, 0.75]])
    moments = Moments(np.array([NONE, NONE]), np.ones(2))
    demand = preload_demand(probabilities, moments, np.array([30.0, 10.0]), figures, Budget(2, 9.0))
    assert demand.at(np.array([1.0, 1.99, 2.0, 3.99, 4.0, 5.0])).tolist() == [1.75, 1.75, 1.5, 1.5, 0.75, 0.0]
    assert demand.price(np.array([np.inf, 1.75, 1.74, 1.0, 0.0, -0.5])) == pytest.approx([1, 1, 2, 4, 5, 5])
    one = preload_demand(probabilities, moments, np.array([30.0, 10.0]), figures, Budget(1, 9.0))
    assert one.at(np.array([1.0])).tolist() == [1.0], "no more than the budget has calls"
    small = preload_demand(probabilities, moments, np.array([30.0, 10.0]), figures, Budget(2, 0.0))
    assert small.at(np.array([1.0])).tolist() == [0.0], "what does not fit is not asked for"


def test_demand_is_never_less_than_what_is_chosen(planted: World) -> None:
    held_out, figures = planted.held_out, economics(0.8, 0)
    transitions = held_out.stakes(figures).transitions
    demand = preload_demand(held_out.probabilities, held_out.moments, transitions, figures, BUDGET)
    for price in (1.0, 1.5, 2.0, 4.0, 8.0):
        chosen = chosen_per_call(planted, figures, price)
        asked = demand.at(np.array([price]))[0]
        assert chosen <= asked * (1 + 1e-9)
        assert chosen >= 0.9 * asked, "nor much more: few contexts have more bytes to fetch than the budget"


def test_at_the_price_at_which_nothing_is_asked_for_nothing_is_chosen() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):  # by rounding alone, one in five would still be worth its own ratio
        figures = Economics(("charts",), random.uniform(100, 900, 1), random.uniform(1, 9, 1), np.ones(1))
        probabilities, moments = random.uniform(0.5, 1, (1, 1)), Moments(np.array([NONE]), np.ones(1))
        demand = preload_demand(probabilities, moments, np.ones(1), figures, BUDGET)
        price = demand.price(np.zeros(1))
        assert not choose_many(probabilities, figures, BUDGET, price).any()


@pytest.fixture(scope="module")
def planted() -> World:
    return world(seed=0)


def chosen_per_call(planted: World, figures: Economics, price: float) -> float:
    """Preloads that are chosen at a price for each ordinary call."""
    held_out = planted.held_out
    moments = replace(held_out.moments, price=np.full(len(held_out.moments), price))
    mask = ExpectedValue(figures, BUDGET).preload(held_out.probabilities, moments)
    transitions = held_out.stakes(figures).transitions
    return float(transitions @ mask.sum(axis=1) / transitions.sum())


def usage_of(days: tuple[date, ...]) -> pl.DataFrame:
    """The calls that the simulator expects in each minute of a day, at 10,000 user sessions a day."""
    frames = []
    for day in days:
        [exchange] = market_day(scenario(day), day).exchanges
        events = 10_000 * exchange.starts
        frames.append(pl.DataFrame({"trading_day": day, "minute": np.arange(len(events)), "events": events}))
    return pl.concat(frames)


def test_at_a_simulated_open_a_constant_price_overruns_the_back_end_and_a_price_by_slot_does_not(
    planted: World,
) -> None:
    past, today = usage_of(DAYS[:-1]), usage_of(DAYS[-1:])
    minutes = past["minute"].n_unique()
    capacity, usual = busiest_minute(past, minutes), expected_calls(past, minutes)
    figures, held_out = economics(0.8, 0), planted.held_out
    transitions = held_out.stakes(figures).transitions
    demand = preload_demand(held_out.probabilities, held_out.moments, transitions, figures, BUDGET)

    prices = slot_prices(usual, capacity, demand, SLOT)
    chosen = np.array([chosen_per_call(planted, figures, price) for price in prices])
    by_price = usual * (1 + by_minute(chosen, minutes, SLOT))
    constant = usual * (1 + chosen_per_call(planted, figures, 1.0))
    assert by_price.max() <= capacity
    assert constant.max() > 1.5 * capacity
    opening, forenoon = BEFORE_OPEN // SLOT, BEFORE_OPEN // SLOT - 10
    assert prices[opening] > 2 * prices[forenoon]
    assert chosen.min() < 0.3 * chosen.max(), "what is left out at the open is fetched in quiet slots"

    # A day that itself is as busy as the capacity, and more: its peak stays what it was.
    actual = expected_calls(today, minutes) * 1.1
    prices = slot_prices(actual, capacity, demand, SLOT)
    chosen = np.array([chosen_per_call(planted, figures, price) for price in prices])
    assert (actual * (1 + by_minute(chosen, minutes, SLOT))).max() <= max(capacity, actual.max())


def test_usage_of_past_days_gives_the_expected_and_the_busiest_minute() -> None:
    usage = pl.DataFrame(
        {
            "trading_day": [date(2026, 11, 19)] * 3 + [date(2026, 11, 20)],
            "minute": [0, 0, 2, 2],
            "events": [3, 4, 1, 5],
        }
    )
    assert expected_calls(usage, 4).tolist() == [3.5, 0.0, 3.0, 0.0]
    assert busiest_minute(usage, 4) == 7.0
    with pytest.raises(UserError, match="no past trading day has usage"):
        busiest_minute(usage.clear(), 4)


def test_slots_hold_their_minutes() -> None:
    assert by_slot(np.arange(7.0), 3).tolist() == [3.0, 12.0, 6.0]
    assert by_minute(np.array([1.0, 2.0, 3.0]), 7, 3).tolist() == [1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("calls", "capacity", "slot", "message"),
    [
        ([1.0], 0.0, 5, "the capacity is 0"),
        ([1.0], float("nan"), 5, "the capacity is nan"),
        ([1.0], 9.0, 0, "a slot of 0 minutes"),
        ([1.0, -2.0], 9.0, 5, "-2 calls are expected in minute 1"),
        ([1.0, float("nan")], 9.0, 5, "nan calls are expected in minute 1"),
        ([], 9.0, 5, "has no minutes"),
    ],
)
def test_loads_that_cannot_be_are_refused(calls: list[float], capacity: float, slot: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        slot_prices(np.array(calls), capacity, Demand(np.empty(0), np.empty(0)), slot)


def test_demand_of_moments_that_were_never_met_is_refused() -> None:
    figures = Economics(("charts",), np.ones(1), np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="there are no transitions"):
        preload_demand(np.ones((1, 1)), Moments(np.array([NONE]), np.ones(1)), np.zeros(1), figures, BUDGET)
