"""What is chosen keeps the budget, is worth its price, and is the best there is, or half of it where there is much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget, choose_many, expected_values
from usage_analytics.serving.decisions.knapsack import EXACT_ITEMS

BINARY = 64  # figures are multiples of 1/64, so that sums of them are exact


@dataclass(frozen=True)
class Case:
    probabilities: Floats
    economics: Economics
    budget: Budget
    price: float

    def values(self, price: float | None = None) -> Floats:
        return expected_values(self.probabilities[None, :], self.economics, self.price if price is None else price)[0]

    def chosen(self, price: float | None = None) -> np.ndarray:
        usual = self.price if price is None else price
        return np.flatnonzero(choose_many(self.probabilities[None, :], self.economics, self.budget, usual)[0])

    def optimum(self) -> float:
        """By trying all selections."""
        values, sizes = self.values(), self.economics.payload_bytes
        subsets = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
        fit = (subsets @ sizes <= self.budget.bytes) & (subsets.sum(axis=1) <= self.budget.calls)
        return float((subsets[fit] @ values).max())


@st.composite
def cases(draw: st.DrawFn, fewest: int = 0, most: int = 10, dear: int = 100) -> Case:
    count = draw(st.integers(fewest, most))

    def figures(low: int, high: int) -> st.SearchStrategy[list[int]]:
        return st.lists(st.integers(low, high), min_size=count, max_size=count)

    economics = Economics(
        tuple(f"app {number}" for number in range(count)),
        saved_ms=np.array(draw(figures(1, 500)), np.float64),
        cost_ms=np.array(draw(figures(0, dear)), np.float64),
        payload_bytes=np.array(draw(figures(0, 50)), np.float64),
    )
    probabilities = np.array(draw(figures(0, BINARY)), np.float64) / BINARY
    whole = int(economics.payload_bytes.sum())
    budget = Budget(draw(st.integers(0, count)), float(draw(st.integers(0, whole))))
    return Case(probabilities, economics, budget, draw(st.integers(0, 400)) / 100)


@settings(max_examples=300, deadline=None)
@given(cases(most=16))
def test_the_budget_is_kept_and_nothing_is_chosen_that_does_not_pay(case: Case) -> None:
    chosen = case.chosen()
    assert len(chosen) <= case.budget.calls
    assert case.economics.payload_bytes[chosen].sum() <= case.budget.bytes
    values = case.values()[chosen]
    assert (values > 0).all()


@settings(max_examples=300, deadline=None)
@given(cases(most=10))
def test_up_to_ten_candidates_are_chosen_as_if_all_selections_were_tried(case: Case) -> None:
    assert case.values()[case.chosen()].sum() == pytest.approx(case.optimum(), rel=1e-12, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(cases(fewest=EXACT_ITEMS + 1, most=13, dear=2))
def test_many_candidates_are_worth_at_least_half_of_the_best(case: Case) -> None:
    values, usable = case.values(), case.economics.payload_bytes <= case.budget.bytes
    best = np.argsort(-np.where(usable, values, 0))[: case.budget.calls]
    hard = (case.economics.payload_bytes[best] * (values[best] > 0)).sum() > case.budget.bytes
    event("by density" if hard and (usable & (values > 0)).sum() > EXACT_ITEMS else "exact")
    assert values[case.chosen()].sum() >= case.optimum() / 2


def test_by_density_a_swarm_of_tiny_ones_does_not_keep_out_what_is_large_and_good() -> None:
    count = 14
    saved, sizes = np.full(count, 1.0), np.full(count, 1.0)
    saved[0], sizes[0] = 100.0, 90.0
    saved[1], sizes[1] = 90.0, 20.0
    economics = Economics(tuple(f"app {n}" for n in range(count)), saved, np.zeros(count), sizes)
    chosen = choose_many(np.ones((1, count)), economics, Budget(2, 100.0))[0]
    assert np.flatnonzero(chosen).tolist() == [0, 2], "100 and a small one are better than 90 and a small one"


@settings(max_examples=300, deadline=None)
@given(cases(most=10), st.integers(1, 300))
def test_a_higher_price_never_makes_the_chosen_cost_more(case: Case, more: int) -> None:
    cheap, dear = (case.economics.cost_ms[case.chosen(price)].sum() for price in (case.price, case.price + more / 8))
    assert dear <= cheap


@settings(max_examples=100, deadline=None)
@given(cases(fewest=1, most=14), st.lists(st.integers(0, BINARY), min_size=1, max_size=5), st.data())
def test_many_moments_at_once_are_decided_as_each_alone(case: Case, scales: list[int], data: st.DataObject) -> None:
    prices = np.array(data.draw(st.lists(st.integers(0, 8), min_size=len(scales), max_size=len(scales)))) / 2
    rows = case.probabilities * np.array(scales)[:, None] / BINARY
    together = choose_many(rows, case.economics, case.budget, prices)
    for row, price, mask in zip(rows, prices, together, strict=True):
        alone = choose_many(row[None, :], case.economics, case.budget, float(price))[0]
        assert mask.tolist() == alone.tolist()


def test_the_value_of_a_preload_is_what_it_likely_saves_less_its_cost_at_the_price() -> None:
    economics = Economics(("charts", "chat"), np.array([200.0, 100.0]), np.array([30.0, 40.0]), np.zeros(2))
    values = expected_values(np.array([[0.5, 0.5], [0.5, 0.5]]), economics, np.array([1.0, 2.0]))
    assert values.tolist() == [[70.0, 10.0], [40.0, -30.0]]
    halves = np.array([[0.5, 0.5]])
    assert choose_many(halves, economics, Budget(5, 0.0)).tolist() == [[True, True]], "0 bytes fit into 0"
    assert choose_many(halves, economics, Budget(5, 0.0), price=2.0).tolist() == [[True, False]]


@pytest.mark.parametrize("calls", [2.0, np.float64(2.0), np.int64(2)])
def test_a_whole_number_of_another_type_is_a_number_of_calls(calls: Any) -> None:
    economics = Economics(("charts", "chat", "news"), np.ones(3), np.zeros(3), np.ones(3))
    budget = Budget(calls, 9.0)
    assert (budget, type(budget.calls)) == (Budget(2, 9.0), int)
    assert np.count_nonzero(choose_many(np.ones((1, 3)), economics, budget)) == 2


@pytest.mark.parametrize("calls", [2**63 - 1, 2**63, 10**30])
def test_a_number_of_calls_beyond_64_bits_is_no_limit(calls: int) -> None:
    many = EXACT_ITEMS + 2
    economics = Economics(tuple(f"app {n}" for n in range(many)), np.ones(many), np.zeros(many), np.ones(many))
    assert np.count_nonzero(choose_many(np.ones((1, many)), economics, Budget(calls, 5.0))) == 5


def test_parts_of_a_byte_count_as_a_whole_one() -> None:
    economics = Economics(("charts", "chat"), np.ones(2), np.zeros(2), np.array([0.5, 0.5]))
    assert choose_many(np.ones((1, 2)), economics, Budget(2, 1.0)).tolist() == [[True, False]]


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.1, float("inf")])
def test_probabilities_that_cannot_be_are_refused_by_name(wrong: float) -> None:
    economics = Economics(("charts", "chat"), np.ones(2), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match=rf"the probability of 'chat' is {wrong:g} at moment 1"):
        choose_many(np.array([[0.1, 0.2], [0.1, wrong]]), economics, Budget(1, 1.0))


def test_unfit_prices_shapes_and_budgets_are_refused() -> None:
    economics = Economics(("charts", "chat"), np.ones(2), np.ones(2), np.ones(2))
    for price in (float("nan"), -1.0, float("inf")):
        with pytest.raises(ValueError, match=f"the price of preloads is {price:g}"):
            choose_many(np.ones((1, 2)), economics, Budget(1, 1.0), price)
    with pytest.raises(ValueError, match=r"have the shape \(1, 3\) for 2 candidates"):
        choose_many(np.ones((1, 3)), economics, Budget(1, 1.0))
    with pytest.raises(UserError, match="calls is -1"):
        Budget(-1, 1.0)
    for calls in (1.5, float("inf"), float("nan"), True):
        with pytest.raises(UserError, match=f"preload budget: calls is {calls}; it must be a whole number from 0 on"):
            Budget(calls, 1.0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="bytes is nan"):
        Budget(1, float("nan"))
