"""Which factor of a kind each prediction and mini-app has: by group, or by how long ago the mini-app was opened."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.context_levels import Floats, Ints
from usage_analytics.models.branching.factors import Reals
from usage_analytics.models.branching.situations import NO_MINI_APP, STEPS, Rows, Situations


class Kind(Protocol):
    """One kind of factors over some predictions."""

    def of(self, factors: npt.NDArray[np.floating], rows: slice) -> Reals:
        """The factors of some predictions: (predictions, mini_apps)."""
        ...

    def expected(self, shares: Reals, rows: slice, into: Floats) -> None:
        """Add shares of some predictions, (predictions, mini_apps), to the factors that they have."""
        ...

    def seen(self, actions: Ints, weights: Floats, into: Floats) -> None:
        """Add the weight of each prediction to the factor that the mini-app had which was opened."""
        ...


class Grouped:
    """Factors by a group of predictions and the mini-app; the mini-app that is open has none."""

    def __init__(self, groups: Ints, current: Ints) -> None:
        self._groups, self._current = groups, current

    def of(self, factors: npt.NDArray[np.floating], rows: slice) -> Reals:
        found = factors.astype(np.float32)[self._groups[rows]]
        self._set_open(found, rows, 1.0)
        return found

    def expected(self, shares: Reals, rows: slice, into: Floats) -> None:
        shares = shares.copy()
        self._set_open(shares, rows, 0.0)
        order = np.argsort(self._groups[rows], kind="stable")
        groups, first = np.unique(self._groups[rows][order], return_index=True)
        into[groups] += np.add.reduceat(shares[order], first, axis=0)

    def seen(self, actions: Ints, weights: Floats, into: Floats) -> None:
        goes = np.flatnonzero(actions != self._current)
        cells = self._groups[goes] * into.shape[1] + actions[goes]
        into += np.bincount(cells, weights[goes], into.size).reshape(into.shape)

    def _set_open(self, matrix: Reals, rows: slice, value: float) -> None:
        current = self._current[rows]
        open_ = np.flatnonzero(current != NO_MINI_APP)
        matrix[open_, current[open_]] = value


class Revisited:
    """Factors by how many steps ago, and the mini-app."""

    def __init__(self, steps: Rows) -> None:
        self._steps = steps

    def of(self, factors: npt.NDArray[np.floating], rows: slice) -> Reals:
        return np.asarray(factors.astype(np.float32).ravel()[self._cells(rows)])

    def expected(self, shares: Reals, rows: slice, into: Floats) -> None:
        into += np.bincount(self._cells(rows).ravel(), shares.ravel(), into.size).reshape(into.shape)

    def seen(self, actions: Ints, weights: Floats, into: Floats) -> None:
        steps = np.take_along_axis(self._steps, actions[:, None], axis=1)[:, 0].astype(np.int64)
        into += np.bincount(steps * into.shape[1] + actions, weights, into.size).reshape(into.shape)

    def _cells(self, rows: slice) -> Ints:
        mini_apps = self._steps.shape[1]
        return self._steps[rows].astype(np.int64) * mini_apps + np.arange(mini_apps)


class RevisitedBy:
    """Factors by a group of predictions and how many steps ago, whichever mini-app."""

    def __init__(self, groups: Ints, steps: Rows) -> None:
        self._groups, self._steps = groups, steps

    def of(self, factors: npt.NDArray[np.floating], rows: slice) -> Reals:
        return np.asarray(factors.astype(np.float32).ravel()[self._cells(rows)])

    def expected(self, shares: Reals, rows: slice, into: Floats) -> None:
        into += np.bincount(self._cells(rows).ravel(), shares.ravel(), into.size).reshape(into.shape)

    def seen(self, actions: Ints, weights: Floats, into: Floats) -> None:
        steps = np.take_along_axis(self._steps, actions[:, None], axis=1)[:, 0].astype(np.int64)
        cells = self._groups * into.shape[1] + steps
        into += np.bincount(cells, weights, into.size).reshape(into.shape)

    def _cells(self, rows: slice) -> Ints:
        return self._groups[rows, None] * (1 + len(STEPS)) + self._steps[rows]


def kinds_of(situations: Situations) -> dict[str, Kind]:
    """The kinds that `Factors` has, by name; leads are none."""
    current, steps = situations.current, situations.steps
    return {
        "revisits": Revisited(steps),
        "class_revisits": RevisitedBy(situations.user_classes, steps),
        "after": Grouped(current + 1, current),
        "classes": Grouped(situations.user_classes, current),
        "entities": Grouped(situations.entities, current),
    }


def common_revisits(situations: Situations, most_steps: int) -> RevisitedBy:
    """Going back as all mini-apps and classes have it in common; rows of STEPS from ``most_steps`` on are one."""
    return RevisitedBy(np.zeros(len(situations), np.int64), np.minimum(situations.steps, np.int8(most_steps)))
