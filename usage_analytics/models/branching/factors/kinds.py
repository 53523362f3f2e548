"""Which factor of a kind each prediction and mini-app has: by group, or by how long ago the mini-app was opened."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.arrays import Floats, Ints, Reals
from usage_analytics.models.branching.factors.situations import NO_MINI_APP, STEPS, Rows, Situations


class Kind(Protocol):
    """One kind of factors over some predictions."""

    def of(self, factors: npt.NDArray[np.floating], rows: slice) -> Reals:
        """The factors of some predictions: (predictions, mini_apps)."""
        ...

    def expected(self, shares: Reals, rows: slice, into: Floats) -> None:
        """Add shares of some predictions, (predictions, mini_apps), to the factors that they have."""
        ...

    def seen(self, actions: Ints, weights: Floats, rows: slice, into: Floats) -> None:
        """Add the weights of some predictions to the factors that the mini-apps had which were opened."""
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

    def seen(self, actions: Ints, weights: Floats, rows: slice, into: Floats) -> None:
        goes = np.flatnonzero(actions[rows] != self._current[rows]) + rows.start
        cells = self._groups[goes] * into.shape[1] + actions[goes]
        into += np.bincount(cells, weights[goes], into.size).reshape(into.shape)

    def _set_open(self, matrix: Reals, rows: slice, value: float) -> None:
        current = self._current[rows]
        open_ = np.flatnonzero(current != NO_MINI_APP)
        matrix[open_, current[open_]] = value


class Revisited:
    """Factors by how many steps ago, and by the mini-app or a group of predictions."""

    def __init__(self, steps: Rows, stride: int, offsets: Ints) -> None:
        """A prediction's factor of a mini-app lies at steps * stride + offset; offsets: of each, or what broadcasts."""
        self._steps, self._stride, self._offsets = steps, stride, np.broadcast_to(offsets, steps.shape)

    def of(self, factors: npt.NDArray[np.floating], rows: slice) -> Reals:
        return np.asarray(factors.astype(np.float32).ravel()[self._cells(rows)])

    def expected(self, shares: Reals, rows: slice, into: Floats) -> None:
        into += np.bincount(self._cells(rows).ravel(), shares.ravel(), into.size).reshape(into.shape)

    def seen(self, actions: Ints, weights: Floats, rows: slice, into: Floats) -> None:
        taken = np.arange(rows.start, rows.stop), actions[rows]
        cells = self._steps[taken].astype(np.int64) * self._stride + self._offsets[taken]
        into += np.bincount(cells, weights[rows], into.size).reshape(into.shape)

    def _cells(self, rows: slice) -> Ints:
        return self._steps[rows].astype(np.int64) * self._stride + self._offsets[rows]


def revisited(steps: Rows) -> Revisited:
    """Factors of shape (1 + STEPS, mini_apps)."""
    return Revisited(steps, steps.shape[1], np.arange(steps.shape[1]))


def revisited_by(groups: Ints, steps: Rows) -> Revisited:
    """Factors of shape (groups, 1 + STEPS), whichever mini-app."""
    return Revisited(steps, 1, groups[:, None] * (1 + len(STEPS)))


def kinds_of(situations: Situations) -> dict[str, Kind]:
    """The kinds that `Factors` has, by name; leads are none."""
    current, steps = situations.current, situations.steps
    return {
        "revisits": revisited(steps),
        "class_revisits": revisited_by(situations.user_classes, steps),
        "after": Grouped(current + 1, current),
        "classes": Grouped(situations.user_classes, current),
        "entities": Grouped(situations.entities, current),
        "phases": Grouped(situations.phases, current),
    }


def common_revisits(situations: Situations, most_steps: int) -> Revisited:
    """Going back as all mini-apps and classes have it in common; rows of STEPS from ``most_steps`` on are one."""
    return revisited_by(np.zeros(len(situations), np.int64), np.minimum(situations.steps, np.int8(most_steps)))
