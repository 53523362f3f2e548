"""What a look-up takes of its candidates: the most valuable ones, and where these are too large, the best that fit.

The same choice as `expected_value.choose_many`, made for a dozen candidates within microseconds.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from usage_analytics.serving.arrays import Ints
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.knapsack import EXACT_ITEMS, select

AnyFloats = npt.NDArray[np.floating]  # of 64 bits, or of 32
NONE = -1


def choose(values_ms: Sequence[float], sizes: Sequence[float], budget: Budget) -> list[int]:
    """Places of the candidates to preload, best first.

    values_ms, sizes: of the candidates; sizes in whole bytes. Of equal values, the first one is taken.
    """
    room = budget.room
    able = [place for place, value in enumerate(values_ms) if value > 0.0 and sizes[place] <= room]
    able.sort(key=values_ms.__getitem__, reverse=True)
    chosen = able[: budget.calls]
    if sum([sizes[place] for place in chosen]) <= room:
        return chosen
    if len(able) <= EXACT_ITEMS:
        return _best_that_fit(able, values_ms, sizes, budget.calls, room)
    selected = select(np.array([values_ms]), np.array(sizes), budget.calls, room)[0]
    return [place for place in able if selected[place]]


def choose_many(values_ms: AnyFloats, positions: Ints, sizes: AnyFloats, budget: Budget) -> Ints:
    """As `choose`, for many moments: places (calls, moments), best first, NONE where nothing more is worth it.

    values_ms, positions: (candidates, moments), so that each step goes over all moments, which lie side by side.
    sizes: (mini_apps,) by position, in whole bytes.
    """
    candidates = sizes.take(positions)
    worth = np.where(candidates <= budget.room, values_ms, 0.0)
    chosen = _most_valuable(worth, budget.calls)
    total = np.where(chosen == NONE, 0.0, _at(candidates, chosen)).sum(axis=0)
    over = np.flatnonzero(total > budget.room)
    if len(over):
        fitting = _that_fit(worth[:, over], positions[:, over], sizes, budget)
        chosen[:, over] = _most_valuable(fitting, budget.calls)
    return chosen


def _best_that_fit(
    able: Sequence[int], values: Sequence[float], sizes: Sequence[float], most: int, room: float
) -> list[int]:
    """Of ``able``, the most valuable first, those of the largest sum: branches that cannot exceed the best are left."""
    sums = list(accumulate((values[place] for place in able), initial=0.0))
    best: tuple[float, list[int]] = 0.0, []

    def extend(chosen: list[int], value: float, left: float, following: int) -> None:
        nonlocal best
        if value > best[0]:
            best = value, chosen
        if len(chosen) == most:  # no bound tells that as surely: it is a rounded sum
            return
        for at in range(following, len(able)):
            if value + sums[min(at + most - len(chosen), len(able))] - sums[at] <= best[0]:
                return
            if sizes[able[at]] <= left:
                extend([*chosen, able[at]], value + values[able[at]], left - sizes[able[at]], at + 1)

    extend([], 0.0, room, 0)
    return best[1]


def _most_valuable(values: AnyFloats, most: int) -> Ints:
    """Places of the largest positive values of each column."""
    candidates, moments = values.shape
    left = values.copy()
    falling = np.arange(candidates, 0, -1, dtype=np.uint16)[:, None]  # of equal values, the first one is taken
    chosen = np.full((min(most, candidates), moments), NONE, dtype=np.int64)
    for call in range(len(chosen)):
        best = left.max(axis=0)
        place = candidates - ((left == best) * falling).max(axis=0).astype(np.int64)
        chosen[call] = np.where(best > 0.0, place, NONE)
        left.ravel()[place * moments + np.arange(moments)] = 0.0
    return chosen


def _that_fit(values: AnyFloats, positions: Ints, sizes: AnyFloats, budget: Budget) -> AnyFloats:
    """The values of what is selected under the limit of bytes, 0 elsewhere."""
    moments = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    worth = values > 0
    dense = np.zeros((values.shape[1], len(sizes)))
    dense[moments[worth], positions[worth]] = values[worth]
    selected = select(dense, np.asarray(sizes, np.float64), budget.calls, budget.room)
    return np.where(worth & selected[moments, positions], values, 0.0)


def _at(values: AnyFloats, places: Ints) -> AnyFloats:
    return values.take(np.maximum(places, 0) * values.shape[1] + np.arange(values.shape[1]))
