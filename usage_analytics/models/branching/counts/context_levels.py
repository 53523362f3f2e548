"""One order of the n-gram model: its contexts, discounted counts and interpolation weights, as sparse arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from usage_analytics.models.branching.arrays import Flags, Floats, Ints
from usage_analytics.models.branching.counts.transition_counts import SESSION_START

_FALLBACK_DISCOUNTS = (0.5, 0.75, 1.0)
_LEAST_DISCOUNT = 0.1  # keeps every unseen action possible
_LARGEST_SHARE = 0.95  # keeps every seen action ahead of an unseen one of the same back-off probability


@dataclass(frozen=True)
class ContextLevel:
    """The contexts of one order, sorted by key; actions after context i lie at starts[i]:starts[i + 1], ascending."""

    order: int
    keys: Ints  # (contexts,)
    starts: Ints  # (contexts + 1,)
    totals: Ints  # (contexts,) transitions seen after the context
    weights: Floats  # (contexts,) what the context says counts for so much, the shorter context for the rest
    actions: Ints  # (n-grams,) column of the mini-app, 0-based
    shares: Floats  # (n-grams,) discounted count / discounted total: adds up to one over a context

    def find(self, keys: Ints, usable: Flags) -> tuple[Ints, Ints]:
        """Rows of `keys` that this level knows, and the position of each one's context."""
        if not len(self.keys):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        positions = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        rows = np.flatnonzero(usable & (self.keys[positions] == keys))
        return rows, positions[rows].astype(np.int64)

    def shares_of(self, positions: Ints, actions: Ints) -> Floats:
        """The share of an action after a context, by its position; 0 where it was not seen there."""
        width = int(max(self.actions.max(initial=0), actions.max(initial=0))) + 1
        grams = np.repeat(np.arange(len(self.keys)), np.diff(self.starts)) * width + self.actions
        wanted = positions * width + actions
        entries = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
        return np.where((grams[entries] == wanted) & (actions >= 0), self.shares[entries], 0.0)

    def interpolate(self, probabilities: Floats, rows: Ints, positions: Ints) -> None:
        """Refine, in place, the shorter context's probabilities (contexts, mini-apps) of `rows`."""
        weights = self.weights[positions]
        probabilities[rows] *= 1 - weights[:, None]
        first = self.starts[positions]
        lengths = self.starts[positions + 1] - first
        begins = np.cumsum(lengths) - lengths
        entries = np.arange(int(lengths.sum())) + np.repeat(first - begins, lengths)
        probabilities[np.repeat(rows, lengths), self.actions[entries]] += self.shares[entries] * np.repeat(
            weights, lengths
        )


def context_keys(contexts: Ints, base: int, order: int) -> tuple[Ints, Flags]:
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
    """Group n-grams by context and discount them; the context weighs as much as discounting leaves it.

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
        weights=1 - given_up / totals,
        actions=grams % base,
        shares=(counts - discounts) / np.repeat(totals - given_up, np.diff(starts)),
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
