"""n-gram models of the textbooks, beside which the platform's is measured: of any order, and plainly written.

Back-off: the shares of the longest context that was seen, as they are. Witten-Bell (Witten & Bell, The zero-frequency
problem, 1991) and interpolated Kneser-Ney with one discount (Kneser & Ney, 1995; Chen & Goodman, 1999, equation 20),
its lower orders by continuation counts. All are `SequenceModel`s over the vocabulary they learned.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.sequence_model import distinct_rows, reserve
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """Contexts of one order, (contexts, order) codes as keys, and how often each mini-app came next."""

    keys: Ints
    counts: Floats  # (contexts, mini_apps)


class NGrams:
    """Counts by order, and a rule of how to mix them."""

    def __init__(self, rule: str, order: int, sessions: CodedSessions, mini_apps: tuple[str, ...]) -> None:
        self.mini_apps, self._rule, self._base = mini_apps, rule, len(mini_apps) + 2
        self._contexts_of = lambda some: some.contexts(max(order, 1))[:, :order]
        contexts, actions = self._contexts_of(sessions), sessions.following() - 1
        self.reserved = reserve(len(actions))
        self._levels = [self._level(contexts[:, :length], actions) for length in range(order + 1)]

    def probabilities(self, sessions: CodedSessions) -> Floats:
        """As `SequenceModel` says."""
        contexts, rows = distinct_rows(self._contexts_of(sessions))
        apps = len(self.mini_apps)
        mixed = np.full((len(contexts), apps), 1.0 / apps)
        for length, level in enumerate(self._levels):
            keys = self._keys(contexts[:, :length])
            places = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
            known = np.flatnonzero(level.keys[places] == keys)
            mixed[known] = self._mix(level, length, places[known], mixed[known])
        return mixed[rows]

    def _mix(self, level: Level, length: int, places: Ints, shorter: Floats) -> Floats:
        counts = level.counts[places]
        total = counts.sum(axis=1, keepdims=True)
        kinds = (counts > 0).sum(axis=1, keepdims=True)
        if self._rule == "back-off":
            return counts / total
        if self._rule == "Witten-Bell":
            return (counts + kinds * shorter) / (total + kinds)
        if length < len(self._levels) - 1:  # continuation counts: of how many longer contexts
            counts = self._continuations[length][places]
            total, kinds = counts.sum(axis=1, keepdims=True), (counts > 0).sum(axis=1, keepdims=True)
        discount = _discount(level.counts)
        return (np.maximum(counts - discount, 0) + discount * kinds * shorter) / total

    @cached_property
    def _continuations(self) -> list[Floats]:
        return [self._continued(*levels, length) for length, levels in enumerate(pairwise(self._levels))]

    def _continued(self, shorter: Level, longer: Level, length: int) -> Floats:
        """After how many longer contexts each mini-app was seen: (contexts, mini_apps)."""
        parents = np.searchsorted(shorter.keys, longer.keys % self._base**length)
        counts = np.zeros(shorter.counts.shape)
        np.add.at(counts, parents, longer.counts > 0)
        return counts

    def _level(self, contexts: Ints, actions: Ints) -> Level:
        keys, places = np.unique(self._keys(contexts), return_inverse=True)
        cells = places.reshape(-1) * len(self.mini_apps) + actions
        counts = np.bincount(cells, minlength=len(keys) * len(self.mini_apps)).reshape(len(keys), -1)
        return Level(keys, counts.astype(np.float64))

    def _keys(self, contexts: Ints) -> Ints:
        powers = self._base ** np.arange(contexts.shape[1])
        return ((contexts + 1) * powers).sum(axis=1)  # codes are -1, unknown, and up


def _discount(counts: Floats) -> float:
    once, twice = np.count_nonzero(counts == 1), np.count_nonzero(counts == 2)
    return once / (once + 2 * twice) if once and twice else 0.5
