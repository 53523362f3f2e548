"""Replay settles what a policy preloads with what came next; on a planted desktop, expected value wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.second_order_world import MINI_APPS, World, economics, world

from usage_analytics.serving.arrays import Flags, Floats
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.moments import NONE, KnownMoments, Moments, Transitions
from usage_analytics.serving.judging.policies import ExpectedValue, Nothing, Threshold, Top, baselines, pair_counts
from usage_analytics.serving.judging.replay import best_threshold, compare, net_benefits, replay

APPS = ("charts", "chat", "quotes")
FIGURES = Economics(APPS, np.array([100.0, 200.0, 400.0]), np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 4.0]))
BUDGET = Budget(2, 6.0)


@dataclass(frozen=True)
class Fixed:
    """Preloads what it was told to."""

    mask: Flags
    name: str = "fixed"

    def preload(self, probabilities: Floats, moments: Moments) -> Flags:
        return self.mask


def two_moments(price: float = 1.0) -> KnownMoments:
    """With charts open: 6 times chat, twice quotes, twice a repeat; with quotes open: 5 times chat, soon."""
    seen = Transitions(
        np.array([0, 0, 0, 1]), np.array([0, 1, 2, 1]), np.array([2, 6, 2, 5]), np.array([9e9, 9e9, 9e9, 50.0])
    )
    probabilities = np.array([[0.2, 0.6, 0.2], [0.0, 1.0, 0.0]])
    return KnownMoments(probabilities, Moments(np.array([0, 2]), np.array([1.0, price])), seen)


def test_what_is_preloaded_is_settled_with_what_came_next() -> None:
    mask = np.array([[False, True, True], [True, True, False]])
    found = replay(Fixed(mask), two_moments(price=3.0), FIGURES, BUDGET)
    assert (found.transitions, found.opened) == (15, 13)
    assert (found.calls, found.hits) == (10 + 10 + 5 + 5, 6 + 2 + 5)
    assert found.waiting_ms == 6 * 200 + 2 * 400 + 5 * 200
    assert found.saved_ms == 6 * 200 + 2 * 400 + 5 * 50, "in quotes, chat was opened before it was there"
    assert found.cost_ms == 10 * (20 + 30) + 3 * 5 * (10 + 20)
    assert found.payload_bytes == 10 * (2 + 4) + 5 * (1 + 2)
    assert found.useful_bytes == 6 * 2 + 2 * 4 + 5 * 2
    assert found.net_ms_per_transition == (2250 - 950) / 15
    assert found.waiting_removed == 2250 / 3000
    assert (found.precision, found.recall) == (13 / 30, 1.0)
    assert found.wasted_bytes_per_useful_byte == (75 - 30) / 30


def test_shares_of_nothing_are_no_numbers() -> None:
    found = replay(Nothing(), two_moments(), FIGURES, BUDGET)
    assert (found.net_ms_per_transition, found.waiting_removed, found.recall) == (0.0, 0.0, 0.0)
    assert np.isnan([found.precision, found.wasted_bytes_per_useful_byte]).all()
    in_vain = Fixed(np.array([[False, False, False], [True, False, False]]))
    assert replay(in_vain, two_moments(), FIGURES, BUDGET).wasted_bytes_per_useful_byte == np.inf


@pytest.mark.parametrize(
    ("mask", "budget", "message"),
    [
        ([[False, True, True], [False] * 3], Budget(1, 9.0), "'fixed' preloads 2 mini-apps at once; the budget is 1"),
        ([[False, True, True], [False] * 3], Budget(2, 5.0), "'fixed' preloads 6 bytes at once; the budget is 5"),
        ([[True, False, False], [False] * 3], BUDGET, "'fixed' preloads the mini-app that is open"),
    ],
)
def test_a_policy_that_breaks_the_rules_is_refused_by_name(
    mask: list[list[bool]], budget: Budget, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replay(Fixed(np.array(mask)), two_moments(), FIGURES, budget)


def test_the_comparison_has_a_row_per_policy_the_best_first() -> None:
    policies = [Nothing(), Top(1, FIGURES, BUDGET), ExpectedValue(FIGURES, BUDGET)]
    table = compare(policies, two_moments(), FIGURES, BUDGET)
    assert table["policy"].to_list() == ["expected value", "top 1", "nothing"]
    assert table["net_ms_per_transition"].to_list() == sorted(table["net_ms_per_transition"], reverse=True)
    assert table.filter(table["policy"] == "nothing")["precision"].to_list() == [None]


def drawn(seed: int) -> tuple[Economics, KnownMoments]:
    """Any economics and any four moments."""
    random = np.random.default_rng(seed)
    figures = Economics(APPS, random.uniform(0, 99, 3), random.uniform(0, 40, 3), random.uniform(0, 9, 3))
    probabilities = random.integers(0, 5, (4, 3)) / 10
    moments = Moments(random.integers(-1, 3, 4), random.uniform(1, 2, 4))
    seen = Transitions(
        np.sort(random.integers(0, 4, 9)), random.integers(-1, 3, 9), random.integers(0, 9, 9), np.full(9, 60.0)
    )
    return figures, KnownMoments(probabilities, moments, seen)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 20))
def test_moments_add_up_to_the_whole(seed: int, calls: int, room: int) -> None:
    figures, held_out = drawn(seed)
    policy, budget = ExpectedValue(figures, Budget(calls, float(room))), Budget(calls, float(room))
    by_moment = net_benefits(policy, held_out, figures, budget)
    outcome = replay(policy, held_out, figures, budget)
    assert by_moment.shape == (4,)
    assert by_moment.sum() == pytest.approx(outcome.saved_ms - outcome.cost_ms)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 20))
def test_no_threshold_nets_more_than_the_best_one(seed: int, calls: int, room: int) -> None:
    figures, held_out = drawn(seed)
    budget = Budget(calls, float(room))

    def net(least: float) -> float:
        return replay(Threshold(least, figures, budget), held_out, figures, budget).net_ms_per_transition

    best = best_threshold(held_out, figures, budget)
    nets = [net(least) for least in (0.0, 0.1, 0.2, 0.3, 0.4, np.inf)]
    assert net(best.least) == pytest.approx(max(nets), abs=1e-9, nan_ok=True)


@pytest.fixture(scope="module")
def planted() -> World:
    return world(seed=0)


PER_MOMENT = Budget(3, 600_000)


def nets(planted: World, figures: Economics) -> tuple[float, float]:
    """Of expected value, and of the best threshold that these very days have."""
    best = best_threshold(planted.held_out, figures, PER_MOMENT)
    policies = [*baselines(pair_counts(planted.seen, MINI_APPS), figures, PER_MOMENT), best]
    table = compare([ExpectedValue(figures, PER_MOMENT), *policies], planted.held_out, figures, PER_MOMENT)
    by_policy = dict(zip(table["policy"], table["net_ms_per_transition"], strict=True))
    return by_policy.pop("expected value"), max(by_policy.values())


@pytest.mark.parametrize("spread", [0.5, 0.8])
def test_expected_value_nets_half_as_much_again_as_any_threshold(planted: World, spread: float) -> None:
    found = np.array([nets(planted, economics(spread, draw)) for draw in range(6)])
    assert found[:, 0].sum() >= 1.5 * found[:, 1].sum()
    assert (found[:, 0] >= 1.2 * found[:, 1]).all()


def test_where_all_mini_apps_are_alike_expected_value_is_a_threshold(planted: World) -> None:
    ours, best = nets(planted, economics(0.0, 0))
    assert 0.98 * best <= ours <= best * (1 + 1e-9)


def test_preloading_by_expected_value_is_worth_more_than_its_cost_where_nothing_is_known_of_the_current() -> None:
    held_out = KnownMoments(
        np.array([[0.1, 0.8, 0.1]]),
        Moments(np.array([NONE]), np.ones(1)),
        Transitions(np.array([0]), np.array([1]), np.array([10]), np.array([1e6])),
    )
    found = replay(ExpectedValue(FIGURES, BUDGET), held_out, FIGURES, BUDGET)
    assert found.saved_ms == 2000.0
    assert found.calls == 20, "chat and, for all its improbability, quotes"
