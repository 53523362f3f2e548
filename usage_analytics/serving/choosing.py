"""Stands in for serving/decisions.py and serving/economics.py, which replace it: the seam, and a greedy rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
NONE = -1


@dataclass(frozen=True)
class Budget:
    """What may be preloaded for one user at one moment; both are hard limits."""

    calls: int
    bytes: float


@dataclass(frozen=True)
class Economics:
    """What a preload of each mini-app saves, costs and transfers; arrays by position in ``mini_apps``."""

    mini_apps: tuple[str, ...]
    saved_ms: Floats
    cost_ms: Floats
    payload_bytes: Floats


def choose(values_ms: Sequence[float], payload_bytes: Sequence[float], budget: Budget) -> list[int]:
    """Positions of the candidates to preload, best first: the most valuable one that still fits, again and again."""
    chosen: list[int] = []
    left = budget.bytes
    for place in sorted(range(len(values_ms)), key=values_ms.__getitem__, reverse=True):
        if values_ms[place] <= 0.0 or len(chosen) >= budget.calls:
            break
        if payload_bytes[place] <= left:
            left -= payload_bytes[place]
            chosen.append(place)
    return chosen


def choose_many(values_ms: Floats, payload_bytes: Floats, budget: Budget) -> npt.NDArray[np.int64]:
    """As `choose`, for (candidates, moments): places (calls, moments), best first, NONE where nothing more is worth it.

    Candidates lie along the first axis, so that each step goes over all moments at once.
    """
    candidates, moments = values_ms.shape
    calls = min(budget.calls, candidates)
    chosen = np.full((calls, moments), NONE, dtype=np.int64)
    left = np.full(moments, budget.bytes)
    every = np.arange(moments)
    falling = np.arange(candidates, 0, -1, dtype=np.uint16)[:, None]  # of equal values, the first one is taken
    worth = values_ms.copy()
    for call in range(calls):
        fitting = np.where(payload_bytes <= left, worth, 0.0)
        best = fitting.max(axis=0)
        place = candidates - ((fitting == best) * falling).max(axis=0).astype(np.int64)
        taken = best > 0.0
        chosen[call] = np.where(taken, place, NONE)
        cells = place * moments + every
        left -= np.where(taken, payload_bytes.take(cells), 0.0)
        worth.ravel()[cells] = 0.0
    return chosen
