"""One order of the back-off model: its contexts, discounted counts and back-off weights, as sparse arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.transition_counts import SESSION_START

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FALLBACK_DISCOUNTS = (0.5, 0.75, 1.0)
_LEAST_DISCOUNT = 0.1  # keeps every unseen action possible
_LARGEST_SHARE = 0.95  # keeps every seen action ahead of an unseen one of the same back-off probability


@dataclass(frozen=True)
class ContextLevel:
    """The contexts of one order, sorted by key; actions after context i lie at starts[i]:starts[i + 1]."""

    order: int
    keys: Ints  # (contexts,)
    starts: Ints  # (contexts + 1,)
    totals: Ints  # (contexts,) transitions seen after the context
    backoff: Floats  # (contexts,) probability left to the shorter context
    actions: Ints  # (n-grams,) column of the mini-app, 0-based
    shares: Floats  # (n-grams,) discounted count / total

    def find(self, keys: Ints, usable: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """Rows of `keys` that this level knows, and the position of each one's context."""
        if not len(self.keys):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        positions = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        rows = np.flatnonzero(usable & (self.keys[positions] == keys))
        return rows, positions[rows].astype(np.int64)

    def interpolate(self, probabilities: Floats, rows: Ints, positions: Ints) -> None:
        """Refine, in place, the shorter context's probabilities (contexts, mini-apps) of `rows`."""
        probabilities[rows] *= self.backoff[positions, None]
        first = self.starts[positions]
        lengths = self.starts[positions + 1] - first
        begins = np.cumsum(lengths) - lengths
        entries = np.arange(int(lengths.sum())) + np.repeat(first - begins, lengths)
        probabilities[np.repeat(rows, lengths), self.actions[entries]] += self.shares[entries]


def context_keys(contexts: Ints, base: int, order: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Number the order-`order` suffix of each context, and say where there is one.

    contexts: codes (rows, max_order), nearest first. A suffix that runs past the start of the user session
    tells no more than the shorter one, so it is none.
    """
    keys = np.zeros(len(contexts), dtype=np.int64)
    usable = np.ones(len(contexts), dtype=np.bool_)
    for position in range(order):
        keys += contexts[:, position] * base**position
        usable &= contexts[:, position] >= 0
        if position:
            usable &= contexts[:, position - 1] != SESSION_START
    return keys, usable


def build_level(keys: Ints, actions: Ints, transitions: Ints, base: int, order: int) -> ContextLevel:
    """Group n-grams by context and discount them.

    keys, actions (0-based) and transitions: (n-grams,), repeats allowed.
    """
    grams, inverse = np.unique(keys * base + actions, return_inverse=True)
    counts = np.zeros(len(grams), dtype=np.int64)
    np.add.at(counts, inverse, transitions)
    contexts, first = np.unique(grams // base, return_index=True)
    starts = np.append(first, len(grams)).astype(np.int64)
    totals = np.add.reduceat(counts, first) if len(grams) else np.empty(0, np.int64)
    discounts = np.array((0.0, *estimate_discounts(counts)))[np.minimum(counts, 3)]
    given_up = np.add.reduceat(discounts, first) if len(grams) else np.empty(0, np.float64)
    return ContextLevel(
        order=order,
        keys=contexts,
        starts=starts,
        totals=totals,
        backoff=given_up / totals,
        actions=grams % base,
        shares=(counts - discounts) / np.repeat(totals, np.diff(starts)),
    )


def estimate_discounts(counts: Ints) -> tuple[float, float, float]:
    """Discounts of n-grams seen once, twice, and three times or more (Chen & Goodman 1999, equation 17).

    Falls back to fixed values where a count of counts is empty: then the counts are so dense that it
    hardly matters.
    """
    seen = [int(np.count_nonzero(counts == times)) for times in (1, 2, 3, 4)]
    if not all(seen):
        return _FALLBACK_DISCOUNTS
    leak = seen[0] / (seen[0] + 2 * seen[1])
    raw = [times - (times + 1) * leak * seen[times] / seen[times - 1] for times in (1, 2, 3)]
    one, two, more = (
        float(np.clip(value, _LEAST_DISCOUNT, _LARGEST_SHARE * times)) for times, value in enumerate(raw, start=1)
    )
    return one, two, more
