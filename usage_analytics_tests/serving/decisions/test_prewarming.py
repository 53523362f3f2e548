"""Before the market opens, the back end fetches what it could not fetch then, as long as that stays fresh."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.decisions.test_prices import LOADS, demands
from simulation.simulated import scenario

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.decisions.prewarming import balance_load
from usage_analytics.serving.decisions.prices import Demand, by_slot, slot_prices
from usage_analytics.simulation.market_day import BEFORE_OPEN, market_day

HALF = Demand(np.array([8.0, 4.0, 2.0]), np.array([0.2, 0.4, 0.5]))
SLOT = 5  # minutes
QUIET, OPEN = [20.0] * SLOT, [100.0] * SLOT


@settings(max_examples=300, deadline=None)
@given(demands(), LOADS, st.integers(0, 2000), st.integers(1, 4))
def test_the_load_keeps_within_the_capacity_and_nothing_is_lost_on_the_way(
    demand: Demand, calls: Floats, fresh: int, slot: int
) -> None:
    plan = balance_load(calls, 100.0, demand, fresh, slot)
    assert (plan.load <= np.maximum(100.0, calls) * (1 + 1e-9)).all()
    assert plan.price.tolist() == slot_prices(calls, 100.0, demand, slot).tolist()
    wanted = by_slot(calls, slot) * demand.at(np.array([1.0]))
    forbidden = wanted - by_slot(calls, slot) * demand.at(plan.price)
    moved = plan.moved_ahead * wanted
    assert (plan.moved_ahead >= 0).all()
    assert (moved <= forbidden + 1e-9).all(), "only what its own slot leaves out moves"
    assert plan.taken_over.sum() == pytest.approx(moved.sum())
    extra = plan.load.sum() - calls.sum() - (by_slot(calls, slot) * demand.at(plan.price)).sum()
    assert extra == pytest.approx(plan.taken_over.sum(), abs=1e-6)


def test_what_the_open_leaves_out_moves_into_the_quiet_slot_before_it() -> None:
    plan = balance_load(np.array([*QUIET, *OPEN]), 100.0, HALF, 600, SLOT)
    assert plan.price == pytest.approx([1.0, 8.0])
    assert plan.taken_over.tolist() == [250.0, 0.0]
    assert plan.moved_ahead.tolist() == [0.0, 1.0], "all of the open's preloads"
    assert plan.load.tolist() == [80.0] * 5 + [100.0] * 5


def test_data_that_would_be_stale_by_then_does_not_move() -> None:
    calls = np.array([*QUIET, *OPEN])
    plan = balance_load(calls, 100.0, HALF, 599, SLOT)
    assert plan.moved_ahead.tolist() == [0.0, 0.0]
    assert plan.load.tolist() == [30.0] * 5 + [100.0] * 5
    far = np.array([*QUIET, *OPEN, *OPEN])
    assert balance_load(far, 100.0, HALF, 600, SLOT).moved_ahead.tolist() == [0.0, 1.0, 0.0]
    assert balance_load(far, 100.0, HALF, 900, SLOT).taken_over.tolist() == [350.0, 0.0, 0.0], "what has room"


def test_only_what_is_worth_the_earlier_price_moves_there() -> None:
    # The slot before the open is busy itself, so its price is 4: of the open's items only that of 8 is worth it there.
    demand = Demand(np.array([8.0, 4.0, 2.0]), np.array([0.02, 0.4, 0.5]))
    plan = balance_load(np.array([80.0, 100.0]), 100.0, demand, time_to_live_s=3600, slot_minutes=1)
    assert plan.price == pytest.approx([4.0, 8.0])
    assert plan.taken_over == pytest.approx([2.0, 0.0]), "though there is room for 18.4"


def test_at_a_simulated_open_prewarming_serves_more_without_a_higher_peak() -> None:
    day = date(2026, 11, 20)
    [exchange] = market_day(scenario(day), day).exchanges
    calls = 10_000 * exchange.starts
    demand = Demand(np.array([9.0, 6.0, 4.0, 3.0, 2.0, 1.5]), np.cumsum([0.1, 0.1, 0.2, 0.2, 0.3, 0.3]))
    cold, warm = (balance_load(calls, calls.max(), demand, time_to_live_s, SLOT) for time_to_live_s in (0, 3600))
    opening = slice(BEFORE_OPEN // SLOT, BEFORE_OPEN // SLOT + 3)
    assert warm.load.max() == pytest.approx(calls.max())
    assert (warm.price == cold.price).all()
    assert (calls * (1 + demand.at(np.array([1.0])))).max() > 2 * calls.max(), "at a constant price"
    assert (warm.moved_ahead[opening] > 0.5).all()
    assert not cold.moved_ahead.any()
    before = slice(0, BEFORE_OPEN // SLOT)
    assert warm.taken_over[before].sum() > 0.9 * (warm.moved_ahead * by_slot(calls, SLOT) * 1.2)[opening].sum()


def test_a_time_to_live_that_cannot_be_is_refused() -> None:
    for wrong in (-1.0, float("nan")):
        with pytest.raises(UserError, match=f"a time to live of {wrong} seconds"):
            balance_load(np.ones(5), 9.0, HALF, wrong, SLOT)
