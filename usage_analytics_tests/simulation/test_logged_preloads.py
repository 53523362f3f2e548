"""The planted truth of logged preloads is what policies earn when they are followed."""

from __future__ import annotations

import numpy as np
import pytest

from usage_analytics.serving.arrays import Floats
from usage_analytics.simulation.logged_preloads import CONTEXTS, PreloadWorld


class Followed(PreloadWorld):
    """A world whose logging policy is the better one already."""

    @property
    def logging_policy(self) -> Floats:
        return self.better_policy


@pytest.mark.parametrize("world", [PreloadWorld(), Followed(), Followed(busy_if_slow=1.0, hits=(0.5, 1.0))])
def test_policies_earn_what_the_truth_says(world: PreloadWorld) -> None:
    users = 30_000
    log = world.draw(users, seed=1)
    truth = world.worth(world.logging_policy)
    beyond = np.bincount(log.moments.users, log.moments.rewards - truth, users)
    error = beyond.std() * np.sqrt(users) / len(log.actions)
    assert error < 0.03 * truth
    assert beyond.sum() / len(log.actions) == pytest.approx(0.0, abs=4 * error)


def test_propensities_are_how_often_actions_are_taken() -> None:
    world = PreloadWorld(exploration=0.5)
    log = world.draw(20_000, seed=2)
    for context in range(CONTEXTS):
        actions = log.actions[log.contexts == context]
        taken = np.bincount(actions) / len(actions)
        assert taken == pytest.approx(world.logging_policy[context], abs=0.01)
    assert np.allclose(log.moments.propensities, world.logging_policy[log.contexts, log.actions])


def test_the_better_policy_is_better() -> None:
    assert PreloadWorld().worth(PreloadWorld().better_policy) > 1.2 * PreloadWorld().worth(
        PreloadWorld().logging_policy
    )


def test_the_same_seed_draws_the_same_log() -> None:
    first, again, other = (PreloadWorld().draw(50, seed).moments.rewards for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
