"""How much a context is worth beside the shorter one: interpolation weights, learned on users who were left out.

What one user does again and again is counted often and says little of others. So weights are not read off the counts
(as absolute discounting does): fold by fold, contexts counted without its users predict those users' transitions.
Contexts seen about as often share a weight. Source: Jelinek & Mercer, Interpolated estimation of Markov source
parameters from sparse data, 1980 (deleted interpolation); here users are deleted, not single events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from usage_analytics.models.branching.arrays import Flags, Floats, Ints
from usage_analytics.models.branching.counts.context_levels import ContextLevel, context_keys

MOST_N_GRAMS = 1_000_000  # that were left out: further folds are not looked at
BUCKETS = 40  # by powers of two of a context's transitions
PRIOR = 2.0  # transitions for which discounting's own weight stands
STEPS = 30


@dataclass(frozen=True)
class Coded:
    """N-grams as codes: contexts (n-grams, order) nearest first, the next mini-app (0-based), and transitions."""

    contexts: Ints
    actions: Ints
    transitions: Ints

    def __getitem__(self, rows: Ints) -> "Coded":
        return Coded(self.contexts[rows], self.actions[rows], self.transitions[rows])


def bucket_of(totals: Ints) -> Ints:
    """The bucket of contexts seen so often."""
    return np.minimum(np.frexp(np.maximum(totals, 1).astype(np.float64))[1].astype(np.int64) - 1, BUCKETS - 1)


def unlearned(max_order: int) -> Floats:
    """The weights (orders, BUCKETS) of counts that nothing was learned of."""
    return np.full((max_order + 1, BUCKETS), np.nan)


def with_weights(level: ContextLevel, weights: Floats) -> ContextLevel:
    """The level with a weight for each bucket (BUCKETS,); NaN: discounting's own stands."""
    learned = weights[bucket_of(level.totals)]
    return replace(level, weights=np.where(np.isnan(learned), level.weights, learned))


def learn_weights(parts: Sequence[tuple[Sequence[ContextLevel], Coded]], base: int) -> Floats:
    """For each order, the weight of each bucket that makes what was left out likeliest, the shorter orders' given.

    Gives (orders, BUCKETS); NaN where a bucket has nothing to go by.
    parts: levels without some users, and those users' n-grams; their contexts must reach as far as the levels.
    """
    mini_apps = base - 1
    orders = range(len(parts[0][0]))
    transitions = np.concatenate([left_out.transitions for _, left_out in parts])
    shorter = np.full(len(transitions), 1.0 / mini_apps)
    learned = []
    for order in orders:
        looked_up = [_look_up(levels[order], left_out, base) for levels, left_out in parts]
        known, shares, totals, own = (np.concatenate(each) for each in zip(*looked_up, strict=True))
        buckets = bucket_of(totals)
        weights = _likeliest(buckets[known], shares[known], shorter[known], own[known], transitions[known])
        mixed = np.where(np.isnan(weights[buckets]), own, weights[buckets])
        shorter = np.where(known, mixed * shares + (1 - mixed) * shorter, shorter)
        learned.append(weights)
    return np.stack(learned)


def _look_up(level: ContextLevel, wanted: Coded, base: int) -> tuple[Flags, Floats, Ints, Floats]:
    """Of each n-gram: whether its context is known, its share there, the context's transitions and own weight."""
    known = np.zeros(len(wanted.actions), np.bool_)
    shares, totals, own = np.zeros(len(known)), np.zeros(len(known), np.int64), np.zeros(len(known))
    rows, positions = level.find(*context_keys(wanted.contexts, base, level.order))
    known[rows], totals[rows], own[rows] = True, level.totals[positions], level.weights[positions]
    shares[rows] = level.shares_of(positions, wanted.actions[rows])
    return known, shares, totals, own


def _likeliest(buckets: Ints, shares: Floats, shorter: Floats, own: Floats, transitions: Ints) -> Floats:
    count = np.bincount(buckets, transitions, BUCKETS)
    prior = np.bincount(buckets, transitions * own, BUCKETS) / np.maximum(count, 1)
    low, high = np.zeros(BUCKETS), np.ones(BUCKETS)
    for _ in range(STEPS):  # the logarithm is concave in each weight: halve towards where its slope is none
        weights = (low + high) / 2
        mixed = weights[buckets] * shares + (1 - weights[buckets]) * shorter
        slope = np.bincount(buckets, transitions * (shares - shorter) / mixed, BUCKETS) + PRIOR * (
            prior / weights - (1 - prior) / (1 - weights)
        )
        low, high = np.where(slope > 0, weights, low), np.where(slope > 0, high, weights)
    return np.where(count > 0, (low + high) / 2, np.nan)
