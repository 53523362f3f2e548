"""Each rule preloads by its own lights, and all keep the budget."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.moments import NONE, Moments
from usage_analytics.serving.judging.policies import (
    ExpectedValue,
    PairRule,
    Policy,
    Threshold,
    Top,
    baselines,
    pair_counts,
)

APPS = ("blotter", "charts", "chat", "quotes")
SAME = Economics(APPS, np.full(4, 100.0), np.full(4, 10.0), np.ones(4))
ROOMY = Budget(4, 4.0)
PAIRS = np.array([[0, 0, 0, 0], [15, 50, 20, 15], [0, 0, 2, 8], [1, 0, 0, 0]])


def at(*current: int) -> Moments:
    return Moments(np.array(current), np.ones(len(current)))


def preloaded(policy: Policy, probabilities: list[float], current: int = NONE) -> list[str]:
    [mask] = policy.preload(np.array([probabilities]), at(current))
    return [name for name, taken in zip(APPS, mask, strict=True) if taken]


def test_fixed_rules_look_at_the_probability_alone() -> None:
    probabilities = [0.1, 0.3, 0.4, 0.2]
    assert preloaded(Top(1, SAME, ROOMY), probabilities) == ["chat"]
    assert preloaded(Top(3, SAME, ROOMY), probabilities) == ["charts", "chat", "quotes"]
    assert preloaded(Threshold(0.3, SAME, ROOMY), probabilities) == ["charts", "chat"]
    assert preloaded(Threshold(0.0, SAME, ROOMY), probabilities) == list(APPS)


def test_the_mini_app_that_is_open_is_left_out() -> None:
    probabilities = [0.1, 0.3, 0.4, 0.2]
    assert preloaded(Top(1, SAME, ROOMY), probabilities, current=2) == ["charts"]
    assert preloaded(Threshold(0.0, SAME, ROOMY), probabilities, current=2) == ["blotter", "charts", "quotes"]
    assert preloaded(ExpectedValue(SAME, ROOMY), probabilities, current=2) == ["charts", "quotes"]


def test_guess_js_and_chromium_go_by_pairs_alone() -> None:
    rules = {policy.name: policy for policy in baselines(PAIRS, SAME, ROOMY)}
    assert list(rules) == ["nothing", "top 1", "top 3", "Guess.js on 4G", "Guess.js on 3G", "Chromium"]
    certain = [0.0, 0.0, 1.0, 0.0]
    assert preloaded(rules["nothing"], certain) == []
    # after charts: 15, 20 and 15 of 100; staying is 50
    assert preloaded(rules["Guess.js on 4G"], certain, current=1) == ["blotter", "chat", "quotes"]
    assert preloaded(rules["Guess.js on 3G"], certain, current=1) == []
    # after chat: 8 of 10
    assert preloaded(rules["Guess.js on 3G"], certain, current=2) == ["quotes"]
    assert preloaded(rules["Chromium"], certain, current=2) == ["quotes"]
    # after quotes: all of one hit
    assert preloaded(rules["Guess.js on 3G"], certain, current=3) == ["blotter"]
    assert preloaded(rules["Chromium"], certain, current=3) == []
    # where nothing is known
    assert preloaded(rules["Guess.js on 4G"], certain, current=0) == []
    assert preloaded(rules["Guess.js on 4G"], certain) == []


def test_a_budget_cuts_a_rule_in_its_own_order() -> None:
    sizes = Economics(APPS, np.full(4, 100.0), np.full(4, 10.0), np.array([1.0, 5.0, 2.0, 2.0]))
    probabilities = [0.1, 0.3, 0.4, 0.2]
    assert preloaded(Top(3, sizes, Budget(2, 100.0)), probabilities) == ["charts", "chat"]
    assert preloaded(Top(3, sizes, Budget(3, 4.0)), probabilities) == ["chat", "quotes"], "charts is passed over"
    pairs = PairRule("pairs", np.array([[0, 20, 50, 30]] * 4), 0.1, 1, sizes, Budget(1, 100.0))
    assert preloaded(pairs, probabilities, current=0) == ["chat"]


def test_expected_value_goes_by_what_is_saved_and_the_price() -> None:
    economics = Economics(APPS, np.array([100.0, 100.0, 1000.0, 10.0]), np.full(4, 20.0), np.ones(4))
    policy = ExpectedValue(economics, ROOMY)
    assert preloaded(policy, [0.3, 0.2, 0.1, 0.4]) == ["blotter", "chat"]
    dear = Moments(np.array([NONE, NONE]), np.array([1.0, 2.0]))
    both = policy.preload(np.array([[0.3, 0.2, 0.1, 0.4]] * 2), dear)
    assert both.tolist() == [[True, False, True, False], [False, False, True, False]]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(0, 20), st.floats(0, 1))
def test_every_policy_keeps_every_budget_and_leaves_out_what_is_open(
    seed: int, calls: int, room: int, least: float
) -> None:
    random = np.random.default_rng(seed)
    apps = tuple(f"app {n}" for n in range(6))
    probabilities = random.dirichlet(np.full(6, 0.4), 8)
    moments = Moments(random.integers(-1, 6, 8), random.uniform(1, 3, 8))
    economics = Economics(apps, random.uniform(0, 99, 6), random.uniform(0, 9, 6), random.uniform(0, 9, 6))
    budget = Budget(calls, float(room))
    pairs = random.integers(0, 5, (6, 6))
    fixed = Threshold(least, economics, budget)
    for policy in (*baselines(pairs, economics, budget), fixed, ExpectedValue(economics, budget)):
        mask = policy.preload(probabilities, moments)
        assert mask.sum(axis=1).max() <= calls
        assert (mask @ economics.payload_bytes).max() <= room
        known = np.flatnonzero(moments.current != NONE)
        assert not mask[known, moments.current[known]].any()


def test_pairs_are_counted_over_all_contexts() -> None:
    counts = pl.DataFrame(
        [("a", "charts", "chat", 2), (None, "charts", "chat", 3), ("a", None, "chat", 9), ("a", "gone", "chat", 9)],
        schema=["prev2", "prev1", "next", "transitions"],
        orient="row",
    )
    pairs = pair_counts(counts, APPS)
    assert pairs[1, 2] == pairs.sum() == 5


def test_probabilities_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="for 4 candidates"):
        ExpectedValue(SAME, ROOMY).preload(np.full((1, 3), 0.1), at(NONE))
