"""The reward model: worked out by hand, and blind to the user whom it is asked about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.judging.logged_moments import LoggedMoments, RewardPredictions
from usage_analytics.serving.judging.reward_model import FOLDS, PRIOR_MOMENTS, cross_fitted_rewards
from usage_analytics.simulation.logged_preloads import LoggedPreloads, PreloadWorld

WORLD = PreloadWorld(moments_per_user=4.0)


def predicted(log: LoggedPreloads, rewards: Floats) -> RewardPredictions:
    moments = LoggedMoments(log.moments.users, log.moments.propensities, rewards)
    return cross_fitted_rewards(moments, log.actions, log.contexts, WORLD.better_policy[log.contexts])


def test_means_are_shrunk_to_that_of_all() -> None:
    users, actions, contexts = np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1]), np.array([5, 5, 5, 5])
    moments = LoggedMoments(users, np.full(4, 0.5), np.array([8.0, 10.0, 20.0, 60.0]))
    target = np.array([[0.25, 0.75]] * 4)
    found = cross_fitted_rewards(moments, actions, contexts, target)
    first = (30.0 + PRIOR_MOMENTS * 30.0) / (2 + PRIOR_MOMENTS)
    second = (60.0 + PRIOR_MOMENTS * 30.0) / (1 + PRIOR_MOMENTS)
    assert found.of_logged == pytest.approx([first, 8.0, 8.0, 8.0])
    assert found.under_target == pytest.approx([0.25 * first + 0.75 * second, 8.0, 8.0, 8.0])


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_a_users_own_rewards_are_never_seen(seed: int, users: int) -> None:
    log = WORLD.draw(users + 30, seed)
    mine = log.moments.users == log.moments.users[0]
    found, after = (predicted(log, np.where(mine, changed, log.moments.rewards)) for changed in (0.0, 1e6))
    assert after.of_logged[mine] == pytest.approx(found.of_logged[mine])
    assert after.under_target[mine] == pytest.approx(found.under_target[mine])
    learnt = (after.of_logged != found.of_logged) & ~mine
    assert learnt.mean() > 1 - 2 / FOLDS


def test_it_finds_what_is_planted() -> None:
    log = PreloadWorld(wait_spread=0.2, user_spread=0.1).draw(3_000, seed=4)
    planted = PreloadWorld(wait_spread=0.2, user_spread=0.1).expected_rewards[log.contexts, log.actions]
    found = predicted(log, log.moments.rewards).of_logged
    assert np.abs(found - planted).mean() < 0.1 * planted.std()
