"""What to preload at a moment: the mini-apps of the largest expected value that a budget allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Flags, Floats
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.knapsack import select

USUAL_PRICE = 1.0  # while the back end is idle

EXACT_BYTES = 2.0**53 - 1  # up to so many, sums of whole bytes are not rounded

_ROUNDING = 1e-9  # by so much a probability may be above 1


@dataclass(frozen=True)
class Budget:
    """What may be preloaded for one user at one moment; both are hard limits. UserError when one cannot be."""

    calls: int
    bytes: float

    def __post_init__(self) -> None:
        counted = not isinstance(self.calls, bool) and 0 <= self.calls < math.inf
        if not counted or self.calls != int(self.calls):
            raise UserError(f"preload budget: calls is {self.calls}; it must be a whole number from 0 on")
        if not self.bytes >= 0:
            raise UserError(f"preload budget: bytes is {self.bytes}; it must be a number from 0 on")
        object.__setattr__(self, "calls", int(self.calls))  # 2.0 is a number of calls too, but no end of a slice

    @property
    def room(self) -> float:
        """The bytes that sums of whole ones can be told to keep to: a rounded sum could exceed ``bytes`` unnoticed."""
        return min(self.bytes, EXACT_BYTES)


def choose_many(probabilities: Floats, economics: Economics, budget: Budget, price: Floats | float = 1.0) -> Flags:
    """Per moment, whether each candidate is preloaded: (moments, candidates).

    Maximises the sum of probability * saved_ms - price * cost_ms over the chosen; see `knapsack.select` for when
    this is the very best. Nothing of no value is chosen, so a probability of 0 keeps a candidate out. Where the best
    is found, a higher price never makes the chosen cost more. Bytes are rounded up to whole ones.

    probabilities: (moments, candidates); price: (moments,), or one for all. ValueError when either cannot be.
    """
    values = expected_values(probabilities, economics, price)
    return select(values, economics.payload_bytes, budget.calls, budget.room)


def expected_values(probabilities: Floats, economics: Economics, price: Floats | float = 1.0) -> Floats:
    """What preloading each candidate is worth in milliseconds, (moments, candidates): negative where it does not pay.

    ValueError when a probability or a price cannot be.
    """
    _check_probabilities(probabilities, economics)
    prices = np.broadcast_to(np.asarray(price, np.float64), len(probabilities))
    check_prices(prices)
    return np.asarray(probabilities * economics.saved_ms - prices[:, None] * economics.cost_ms, np.float64)


def check_prices(prices: Floats | float) -> None:
    """ValueError when a price cannot be."""
    each = np.atleast_1d(np.asarray(prices, np.float64))
    for wrong in each[~(np.isfinite(each) & (each >= 0))][:1]:
        raise ValueError(f"the price of preloads is {wrong:g}; it must be a number from 0 on")


def _check_probabilities(probabilities: Floats, economics: Economics) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != len(economics.mini_apps):
        raise ValueError(
            f"probabilities have the shape {probabilities.shape} for {len(economics.mini_apps)} candidates"
        )
    wrong = np.argwhere(~((probabilities >= 0) & (probabilities <= 1 + _ROUNDING)))
    for moment, candidate in wrong[:1]:
        told = f"the probability of {economics.mini_apps[candidate]!r} is {probabilities[moment, candidate]:g}"
        raise ValueError(f"{told} at moment {moment}; it must lie between 0 and 1")
