"""What is taken of the candidates: within the budget, and together the most valuable."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.choosing import NONE, choose, choose_many

SIZES = [0.0, 10.0, 40.0, 70.0, 100.0, 300.0]  # by position
MOMENTS = st.lists(st.permutations(range(len(SIZES))).map(lambda order: order[:4]), min_size=1, max_size=5)
BUDGETS = st.builds(Budget, calls=st.integers(0, 5), bytes=st.sampled_from([0.0, 60.0, 110.0, 149.5, 1e9]))
VALUES, ROUNDED = st.integers(-4, 9).map(float), st.floats(0.0, 1e3)


def best_value(values: list[float], sizes: list[float], budget: Budget) -> float:
    """Of all selections within the budget."""
    places = range(len(values))
    selections = [some for count in range(min(budget.calls, len(values)) + 1) for some in combinations(places, count)]
    fitting = [some for some in selections if sum(sizes[place] for place in some) <= budget.bytes]
    return max(sum(values[place] for place in some) for some in fitting)


@given(st.lists(st.tuples(VALUES, st.sampled_from(SIZES)), max_size=9), BUDGETS)
def test_the_choice_is_the_best_within_the_budget(candidates: list[tuple[float, float]], budget: Budget) -> None:
    values, sizes = [value for value, _ in candidates], [size for _, size in candidates]
    chosen = choose(values, sizes, budget)
    assert len(set(chosen)) == len(chosen) <= budget.calls
    assert sum(sizes[place] for place in chosen) <= budget.bytes
    assert sum(values[place] for place in chosen) == best_value(values, sizes, budget)
    assert all(values[place] > 0 for place in chosen)
    assert [values[place] for place in chosen] == sorted((values[place] for place in chosen), reverse=True)


@given(st.lists(st.tuples(ROUNDED, st.integers(1, 1000).map(float)), min_size=5, max_size=10), st.integers(1, 4))
@example(
    [(319.0118013229504, 280.0), (298.7024332997862, 299.0), (38.815388756732446, 621.0),
     (25.767555707126604, 244.0), (13.369276093073317, 137.0)], 3,
)  # fmt: skip
def test_sums_that_are_rounded_break_no_limit(candidates: list[tuple[float, float]], calls: int) -> None:
    values, sizes = [value for value, _ in candidates], [size for _, size in candidates]
    budget = Budget(calls, 1000.0)
    chosen = choose(values, sizes, budget)
    assert len(set(chosen)) == len(chosen) <= calls
    assert sum(sizes[place] for place in chosen) <= budget.bytes
    assert sum(values[place] for place in chosen) == pytest.approx(best_value(values, sizes, budget))


@given(MOMENTS, st.data(), BUDGETS)
def test_many_moments_are_decided_as_one_by_one(moments: list[list[int]], data: st.DataObject, budget: Budget) -> None:
    values = [data.draw(st.lists(VALUES, min_size=4, max_size=4)) for _ in moments]
    chosen = choose_many(np.array(values).T, np.array(moments).T, np.array(SIZES), budget)
    for row, (positions, worth) in enumerate(zip(moments, values, strict=True)):
        sizes = [SIZES[position] for position in positions]
        mine = [place for place in chosen[:, row].tolist() if place != NONE]
        assert len(set(mine)) == len(mine) <= budget.calls
        assert sum(sizes[place] for place in mine) <= budget.bytes
        assert [worth[place] for place in mine] == sorted((worth[place] for place in mine), reverse=True)
        assert sum(worth[place] for place in mine) == best_value(worth, sizes, budget)


@pytest.mark.parametrize("count", [2, 30])
def test_bytes_so_many_that_sums_of_them_are_rounded_break_no_limit(count: int) -> None:
    sizes = [2.0**52, 2.0**52 + 1] + [2.0**53] * (count - 2)
    values, budget = [2.0, 1.0, *[0.5] * (count - 2)], Budget(2, 2.0**53)
    assert choose(values, sizes, budget) == [0]
    places = np.arange(count)[:, None]
    assert choose_many(np.array(values)[:, None], places, np.array(sizes), budget).ravel().tolist() == [0, NONE]


def test_among_very_many_candidates_the_limits_hold_too() -> None:
    values, sizes = [float(place + 1) for place in range(40)], [100.0] * 40
    assert choose(values, sizes, Budget(3, 250.0)) == [39, 38]
    assert choose(values, sizes, Budget(2**63, 250.0)) == [39, 38]
