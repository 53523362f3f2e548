"""The best selection under two limits, for many rows at once: how many items, and how large they are together."""

import numpy as np

from usage_analytics.serving.arrays import Flags, Floats

EXACT_ITEMS = 10  # up to so many items of positive value, all selections are tried

_ROWS_AT_ONCE = 2048  # bounds memory: 17 MB for the value of each selection


def select(values: Floats, sizes: Floats, most_items: int, room: float) -> Flags:
    """Per row of ``values`` (rows, items), the items of the largest value whose number and size keep to the limits.

    sizes: (items,), counted in whole units, rounded up, so that sums are exact. Only items of positive value are
    selected. The selection is the best one where the most valuable items fit, or where at most EXACT_ITEMS have a
    positive value; otherwise it is worth at least half of the best.
    """
    sizes, most_items = np.ceil(sizes), min(most_items, values.shape[1])
    values = np.where((values > 0) & (sizes <= room), values, 0.0)
    selected = _most_valuable(values, most_items)
    over = np.flatnonzero(selected @ sizes > room)
    few = np.count_nonzero(values[over], axis=1) <= EXACT_ITEMS
    for begin in range(0, np.count_nonzero(few), _ROWS_AT_ONCE):
        rows = over[few][begin : begin + _ROWS_AT_ONCE]
        selected[rows] = _best_of_all(values[rows], sizes, most_items, room)
    for row in over[~few]:
        selected[row] = _by_density(values[row], sizes, most_items, room)
    return selected


def _most_valuable(values: Floats, most_items: int) -> Flags:
    best = np.argsort(-values, axis=1, kind="stable")[:, :most_items]
    selected = np.zeros(values.shape, np.bool_)
    np.put_along_axis(selected, best, True, axis=1)
    return selected & (values > 0)


def _best_of_all(values: Floats, sizes: Floats, most_items: int, room: float) -> Flags:
    items = np.argsort(-values, axis=1, kind="stable")[:, :EXACT_ITEMS]
    each = np.take_along_axis(values, items, axis=1)
    count = items.shape[1]
    subsets = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    subsets = subsets[subsets.sum(axis=1) <= most_items]
    in_all = each @ subsets.T.astype(np.float64)
    in_all[sizes[items] @ subsets.T.astype(np.float64) > room] = -1.0
    selected = np.zeros(values.shape, np.bool_)
    np.put_along_axis(selected, items, subsets[in_all.argmax(axis=1)] > 0, axis=1)
    return selected & (values > 0)


def _by_density(values: Floats, sizes: Floats, most_items: int, room: float) -> Flags:
    """From the most valuable items, exchange one for another or for none, at the least loss per size, until they fit.

    The exchanges follow the Lagrangian relaxation of the size limit (Caprara et al., Approximation algorithms for
    knapsack problems with cardinality constraints, 2000): before the last one the items are worth at least the best
    selection, and what it gives up fits alone. So the better of the rest and of the best single item is half of it.
    """
    selected = _most_valuable(values[None, :], most_items)[0]
    while sizes[selected].sum() > room:
        inside, outside = np.flatnonzero(selected), np.flatnonzero(~selected & (values > 0))
        lost = values[inside, None] - np.append(values[outside], 0.0)
        freed = sizes[inside, None] - np.append(sizes[outside], 0.0)
        rate = np.full(lost.shape, np.inf)
        np.divide(lost, freed, out=rate, where=freed > 0)
        given, taken = np.unravel_index(rate.argmin(), rate.shape)
        selected[inside[given]] = False
        if taken < len(outside):
            selected[outside[taken]] = True
    best = values.argmax()
    if values[best] > values[selected].sum():
        selected = np.arange(len(values)) == best
    return _filled(selected, values, sizes, most_items, room)


def _filled(selected: Flags, values: Floats, sizes: Floats, most_items: int, room: float) -> Flags:
    left, places = room - sizes[selected].sum(), most_items - np.count_nonzero(selected)
    for item in np.argsort(-values, kind="stable"):
        if places and not selected[item] and values[item] > 0 and sizes[item] <= left:
            selected[item] = True
            left, places = left - sizes[item], places - 1
    return selected
