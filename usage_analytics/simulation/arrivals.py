"""Who begins something in which minute: independent Poisson counts of users, placed by a curve over the minutes."""

from dataclasses import dataclass

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.randomness import Bits, Ints, Reals


@dataclass(frozen=True)
class Arrivals:
    """One row per beginning: its key (all that follows is drawn from it), its user, and the cell of the curve."""

    key: Bits
    user: Ints
    row: Ints  # of the user among those asked
    cell: Ints


def arrivals(source: np.uint64, at: tuple[int, int], users: Ints, rate: Reals, curve: Reals) -> Arrivals:
    """Each user begins ``rate`` times the sum of the curve, on average; ``at`` is the day and the time of the draw."""
    if not curve.sum():
        rate, curve = np.zeros_like(rate), np.ones(1)
    able = np.flatnonzero(rate > 0)
    chance = randomness.uniform(source, 0, *at, users[able])
    counts = randomness.poisson(rate[able] * curve.sum(), chance)
    row = np.repeat(able, counts)
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    key = randomness.bits(source, 1, *at, users[row], number)
    cell = randomness.choice(np.cumsum(curve) / curve.sum(), randomness.uniform(source, 2, key))
    return Arrivals(key, users[row], row, cell)
