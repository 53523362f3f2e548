"""The promise of counterfactual estimates: in 200 runs their 95 % intervals hold the planted truth in at least 93 %."""

from __future__ import annotations

import pytest

from usage_analytics.simulation.logged_preloads import PreloadWorld
from usage_analytics.simulation.off_policy_trials import DR, IPS, MISLED_DR, SNIPS, TEXTBOOK, Tally, tally

RUNS = range(200)
WORLDS = {
    "300 users": (PreloadWorld(), 300, 500),
    "300 users who come seldom": (PreloadWorld(moments_per_user=6.0), 300, 150),
    "longer tails": (PreloadWorld(wait_spread=1.5, user_spread=0.8), 300, 500),
    "contexts that tell the wait": (PreloadWorld(wait_spread=0.2, user_spread=0.2, hits=(0.7, 1.0)), 300, 500),
}


@pytest.fixture(scope="module")
def tallies() -> dict[str, dict[str, Tally]]:
    return {name: tally(world, users, RUNS) for name, (world, users, _) in WORLDS.items()}


@pytest.mark.parametrize("world", WORLDS)
def test_intervals_hold_the_truth(world: str, tallies: dict[str, dict[str, Tally]]) -> None:
    for estimator in (IPS, SNIPS, DR, MISLED_DR):
        found = tallies[world][estimator]
        assert (found.runs, found.abstained) == (200, 0)
        assert found.coverage >= 0.93, estimator
        assert WORLDS[world][2] < found.effective_moments < 600


def test_a_reward_model_that_tells_much_lessens_the_error(tallies: dict[str, dict[str, Tally]]) -> None:
    found = tallies["contexts that tell the wait"]
    assert found[DR].error < 0.9 * found[SNIPS].error
    assert found[DR].mean_width < 0.9 * found[SNIPS].mean_width
    assert found[SNIPS].error < 0.9 * found[IPS].error


@pytest.mark.parametrize("world", WORLDS)
def test_that_costs_no_more_than_twice_and_a_half_the_width(world: str, tallies: dict[str, dict[str, Tally]]) -> None:
    assert tallies[world][SNIPS].mean_width < 2.5 * tallies[world][TEXTBOOK].mean_width


def test_textbook_intervals_would_break_the_promise(tallies: dict[str, dict[str, Tally]]) -> None:
    """So the worlds are hard enough to tell good intervals from bad ones."""
    assert tallies["longer tails"][TEXTBOOK].coverage < 0.85
    assert tallies["300 users"][TEXTBOOK].coverage < 0.93
