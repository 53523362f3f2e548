"""Moments of a desktop that preloads by chance, with planted truth: what any preload plan would really have earned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.judging.logged_moments import LoggedMoments

Ints = npt.NDArray[np.int64]

CONTEXTS, ACTIONS = 6, 4  # action 0 preloads nothing


@dataclass(frozen=True)
class LoggedPreloads:
    """What was logged, and what a test may know besides."""

    moments: LoggedMoments
    contexts: Ints  # (moments,)
    actions: Ints  # (moments,)


@dataclass(frozen=True)
class PreloadWorld:
    """Users whose waits are lognormal around a level of their own; those who wait longer may come more often.

    A preload set costs the same at each moment and is right in some: then it saves the whole wait.
    """

    exploration: float = 0.2  # share of moments in which any preload set may be chosen, by equal chances
    wait_spread: float = 1.0  # standard deviation of a wait's logarithm
    user_spread: float = 0.5  # of a user's level
    busy_if_slow: float = 0.3  # log of moments per log of level
    moments_per_user: float = 20.0
    hits: tuple[float, float] = (0.1, 0.6)  # how often the preload sets are right, from the worst to the best

    @property
    def hit(self) -> Floats:
        """(contexts, actions): how often a preload set has what is opened next."""
        least, most = self.hits
        scattered = np.modf(np.outer(np.arange(1, CONTEXTS + 1), np.arange(ACTIONS)) * 0.618034)[0]
        chances = least + (most - least) * scattered
        chances[:, 0] = 0.0
        return np.asarray(chances, np.float64)

    @property
    def median_wait(self) -> Floats:
        """(contexts, 1), milliseconds."""
        return np.geomspace(150.0, 900.0, CONTEXTS)[:, None]

    @property
    def cost(self) -> Floats:
        """(actions,), milliseconds."""
        return np.linspace(0.0, 120.0, ACTIONS)

    @property
    def expected_rewards(self) -> Floats:
        """(contexts, actions): over all users' moments."""
        level = self.user_spread**2 * (0.5 + self.busy_if_slow)
        return self.hit * self.median_wait * np.exp(self.wait_spread**2 / 2 + level) - self.cost

    @property
    def logging_policy(self) -> Floats:
        """(contexts, actions): takes the second best everywhere but where it explores."""
        second = np.argsort(self.expected_rewards, axis=1)[:, -2]
        return self.exploration / ACTIONS + (1.0 - self.exploration) * np.eye(ACTIONS)[second]

    @property
    def better_policy(self) -> Floats:
        """(contexts, actions): takes the best in the contexts of long waits, and the logging policy's in the others."""
        order = np.argsort(self.expected_rewards, axis=1)
        return np.eye(ACTIONS)[np.where(np.arange(CONTEXTS) < CONTEXTS // 2, order[:, -2], order[:, -1])]

    def worth(self, policy: Floats) -> float:
        """What a policy (contexts, actions) earns, milliseconds per moment: the truth."""
        return float((policy * self.expected_rewards).sum() / CONTEXTS)

    def draw(self, users: int, seed: int) -> LoggedPreloads:
        """Log so many users' moments."""
        rng = np.random.default_rng(seed)
        level = self.user_spread * rng.standard_normal(users)
        steady = (self.busy_if_slow * self.user_spread) ** 2 / 2
        moments = rng.poisson(self.moments_per_user * np.exp(self.busy_if_slow * level - steady))
        user = np.repeat(np.arange(users), moments)
        liking = rng.dirichlet(np.full(CONTEXTS, 2.0), users).cumsum(axis=1)[user, :-1]
        context = (rng.random((len(user), 1)) > liking).sum(axis=1)
        chances = self.logging_policy[context]
        action = (rng.random((len(user), 1)) > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        wait = self.median_wait[context, 0] * np.exp(level[user] + self.wait_spread * rng.standard_normal(len(user)))
        saved = wait * (rng.random(len(user)) < self.hit[context, action])
        propensities = chances[np.arange(len(user)), action]
        return LoggedPreloads(LoggedMoments(user, propensities, saved - self.cost[action]), context, action)
