"""Users who use the same mini-apps: latent classes, found from how often each was opened.

A class is a distribution over mini-apps; a user's visits are drawn from that of one class (a mixture of multinomials,
fitted by expectation and maximisation: McLachlan & Peel, Finite Mixture Models, 2000). It takes a class little to
tell what a user alone could tell only after weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.users.user_classes import NO_CLASS

MOST_CLASSES = 24
USERS_PER_CLASS = 25  # at least, on average
LEAST_VISITS = 20  # of a user who is to have a class
PRIOR_VISITS = 5.0  # of each class, as all users made them
ROUNDS = 60
SEED = 20260101


@dataclass(frozen=True)
class LatentClasses:
    """What users of each class open."""

    mini_apps: tuple[str, ...]
    shares: Floats  # (classes,) of users
    likes: Floats  # (classes, mini_apps) rows sum to one

    def __len__(self) -> int:
        return len(self.shares)

    def of(self, visits: Floats) -> npt.NDArray[np.uint8]:
        """The likeliest class of users, from 1 on, by their visits (users, mini_apps); NO_CLASS where these are few."""
        if not len(self):
            return np.full(len(visits), NO_CLASS, np.uint8)
        enough = visits.sum(axis=1) >= LEAST_VISITS
        return np.where(enough, self._chances(visits).argmax(axis=1) + 1, NO_CLASS).astype(np.uint8)

    def _chances(self, visits: Floats) -> Floats:
        logs = visits @ np.log(self.likes).T + np.log(self.shares)
        chances = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True), np.float64)


def no_classes(mini_apps: tuple[str, ...]) -> LatentClasses:
    """Where nothing is known of users."""
    return LatentClasses(mini_apps, np.empty(0), np.empty((0, len(mini_apps))))


def learn_classes(visits: Floats, mini_apps: tuple[str, ...], most: int = MOST_CLASSES) -> LatentClasses:
    """The classes of users by their visits (users, mini_apps); none where there are too few users for two.

    The same visits give the same classes; their numbers mean nothing.
    """
    known = visits[visits.sum(axis=1) >= LEAST_VISITS]
    count = min(most, len(known) // USERS_PER_CLASS)
    if count < 2:
        return no_classes(mini_apps)
    everyone = (known.sum(axis=0) + 0.5) / (known.sum() + 0.5 * known.shape[1])
    found = LatentClasses(mini_apps, np.full(count, 1.0 / count), _apart(known, everyone, count))
    for _ in range(ROUNDS):
        chances = found._chances(known)
        shares = (chances.sum(axis=0) + 1.0) / (len(known) + count)
        counted = chances.T @ known + PRIOR_VISITS * everyone
        found = LatentClasses(mini_apps, shares, counted / counted.sum(axis=1, keepdims=True))
    return found


def _apart(visits: Floats, everyone: Floats, count: int) -> Floats:
    """Where the search begins: users as unlike those before as chance has it (k-means++; Arthur & Vassilvitskii, 2007).

    How unlike: by the cosine of the square roots of their shares (Hellinger).
    """
    chance = np.random.default_rng(SEED)
    roots = np.sqrt(visits / visits.sum(axis=1, keepdims=True))
    chosen = [int(chance.integers(len(visits)))]
    distance = np.full(len(visits), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.maximum(1.0 - roots @ roots[chosen[-1]], 0.0))
        total = distance.sum()
        weights = distance / total if total > 0 else np.full(len(visits), 1.0 / len(visits))
        chosen.append(int(chance.choice(len(visits), p=weights)))
    likes = visits[chosen] + len(everyone) * everyone
    return np.asarray(likes / likes.sum(axis=1, keepdims=True), np.float64)
