"""Ratios of sums over users, and how sure we may be of them when users, not moments, are independent."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from usage_analytics.serving.arrays import Floats

_FARTHER_OUT = 2.5


@dataclass(frozen=True)
class Jackknifed:
    """A ratio, and what each user adds to it.

    influence: (users,) what the value loses without the user, times the number of users less one.
    """

    value: float
    influence: Floats


def ratio_of_sums(numerators: Floats, denominators: Floats) -> Jackknifed:
    """Sum of numerators (users,) over sum of denominators (users,): two users or more hold a denominator.

    Leaving out each user in turn is the delta method with users' leverage put right: Bell and McCaffrey, "Bias
    reduction in standard errors for linear regression with multi-stage samples" (Survey Methodology 2002).
    """
    above, below = numerators.sum(), denominators.sum()
    value = above / below
    without = (above - numerators) / (below - denominators)
    return Jackknifed(float(value), (value - without) * (len(numerators) - 1))


def interval(jackknifed: Jackknifed, degrees: float, confidence: float) -> tuple[float, float]:
    """Low and high of the value, at `confidence` or more, by Student's t of so many degrees of freedom.

    A sample of long-tailed rewards has most often missed the longest, and is then both too low and too sure of it. So
    each end is where it would be had one more user been seen, who lies two and a half times as far out on that side as
    any other. benchmarks/off_policy_coverage.py counts how often the truth lies within.
    """
    quantile = t_quantile(0.5 + confidence / 2, degrees)
    ends = []
    for side in (-1.0, 1.0):
        unseen = side * _FARTHER_OUT * max(0.0, float((side * jackknifed.influence).max()))
        influence = np.append(jackknifed.influence, unseen)
        error = float(influence.std(ddof=1)) / np.sqrt(len(influence))
        ends.append(jackknifed.value + float(influence.mean()) + side * quantile * error)
    return ends[0], ends[1]


def t_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t, by its expansion about the normal one: to 0.1 % at 0.975 from 4 degrees of freedom on.

    Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / degrees**power for power, term in enumerate(terms)))
