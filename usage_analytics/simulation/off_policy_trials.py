"""How often off-policy estimates are right, where the truth is planted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from usage_analytics.serving.judging.logged_moments import LoggedMoments, RewardPredictions, TargetPolicy, target_policy
from usage_analytics.serving.judging.off_policy import Estimate, doubly_robust, inverse_propensity, self_normalised
from usage_analytics.serving.judging.reward_model import cross_fitted_rewards
from usage_analytics.simulation.logged_preloads import ACTIONS, CONTEXTS, PreloadWorld

IPS, SNIPS, DR, MISLED_DR, TEXTBOOK = "IPS", "SNIPS", "DR", "DR, misled", "SNIPS, textbook"
ESTIMATORS = (IPS, SNIPS, DR, MISLED_DR, TEXTBOOK)
_NONSENSE = 300.0 + 500.0 * np.cos(3.0 * np.arange(CONTEXTS)[:, None] + 2.0 * np.arange(ACTIONS))


@dataclass(frozen=True)
class Tally:
    """Of many runs; all but the first two over those that gave an estimate."""

    runs: int
    abstained: int
    coverage: float  # share of runs whose interval holds the truth
    mean_width: float  # milliseconds, of the interval
    error: float  # milliseconds, root mean square
    effective_moments: float  # mean
    effective_users: float  # mean


def estimates(world: PreloadWorld, users: int, seed: int) -> dict[str, Estimate]:
    """What each estimator says of the better policy, from one log.

    MISLED_DR's reward model is nonsense; TEXTBOOK has the usual interval, 1.96 linearised errors to each side.
    """
    log = world.draw(users, seed)
    better = world.better_policy[log.contexts]
    target = target_policy(better, world.logging_policy[log.contexts], log.actions)
    learnt = cross_fitted_rewards(log.moments, log.actions, log.contexts, better)
    nonsense = RewardPredictions(_NONSENSE[log.contexts, log.actions], (_NONSENSE[log.contexts] * better).sum(axis=1))
    snips = self_normalised(log.moments, target)
    return {
        IPS: inverse_propensity(log.moments, target),
        SNIPS: snips,
        DR: doubly_robust(log.moments, target, learnt),
        MISLED_DR: doubly_robust(log.moments, target, nonsense),
        TEXTBOOK: _textbook(snips, log.moments, target),
    }


def tally(world: PreloadWorld, users: int, seeds: Sequence[int]) -> dict[str, Tally]:
    """Count, by estimator, over logs of so many users, one per seed."""
    runs = [estimates(world, users, seed) for seed in seeds]
    truth = world.worth(world.better_policy)
    return {name: _tally([run[name] for run in runs], truth) for name in ESTIMATORS}


def _textbook(snips: Estimate, moments: LoggedMoments, target: TargetPolicy) -> Estimate:
    if snips.value is None:
        return snips
    weights = target.of_logged / moments.propensities
    by_user = np.bincount(moments.users, weights * (moments.rewards - snips.value))
    half = 1.96 * float(np.sqrt(by_user @ by_user) / weights.sum())
    return replace(snips, low=snips.value - half, high=snips.value + half)


def _tally(runs: Sequence[Estimate], truth: float) -> Tally:
    answered = np.array(
        [
            (run.value, run.low, run.high, run.effective_moments, run.effective_users)
            for run in runs
            if run.value is not None
        ],
        np.float64,
    ).reshape(-1, 5)
    value, low, high, moments, users = answered.T
    return Tally(
        runs=len(runs),
        abstained=len(runs) - len(answered),
        coverage=float(((low <= truth) & (truth <= high)).mean()),
        mean_width=float((high - low).mean()),
        error=float(np.sqrt(np.square(value - truth).mean())),
        effective_moments=float(moments.mean()),
        effective_users=float(users.mean()),
    )
