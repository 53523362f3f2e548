"""Learns the factors by which counts are corrected, from user sessions that were not counted.

The likeliest factors are those with which each is expected as often as it was seen (iterative proportional fitting;
Deming & Stephan, 1940; Darroch & Ratcliff, 1972). A gamma prior draws them to 1 where little was seen. Steps that an
entity leads to are told from the others by expectation and maximisation (Dempster, Laird & Rubin, 1977).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.context_levels import Floats, Ints
from usage_analytics.models.branching.factors import Factors, Reals
from usage_analytics.models.branching.situations import NO_MINI_APP, STEPS, Situations

MOST_CELLS = 64_000_000  # predictions times mini-apps: each takes 4 bytes twice
PREDICTIONS_AT_ONCE = 2**16
ROUNDS = 6
PRIORS = {"revisits": 50.0, "class_revisits": 20.0, "after": 20.0, "classes": 10.0, "entities": 30.0}
GOING = ("after", "classes", "entities")  # of which the open mini-app has no part
CHANCE_LEADS = 3.0  # steps that are not held for led
LEAD_ROUNDS, FIRST_LEAD = 15, 0.05


@dataclass(frozen=True)
class Lesson:
    """Predictions to learn from: the counts' probabilities, the situations, and what was opened."""

    probabilities: Reals  # (predictions, mini_apps)
    situations: Situations
    actions: Ints  # (predictions,) positions, all known

    def __len__(self) -> int:
        return len(self.actions)


def learn_factors(lesson: Lesson, classes: int, entities: int, rounds: int = ROUNDS) -> Factors:
    """The likeliest factors; those that change nothing where there is nothing to learn from."""
    none = Factors.none(lesson.probabilities.shape[1], classes, entities)
    if not len(lesson):
        return none
    fit = _Fit(lesson, none)
    for _ in range(rounds):
        fit.improve_common()
        for name in ("revisits", "after"):
            fit.improve(name)
        if classes:
            for name in ("class_revisits", "classes"):
                fit.improve(name)
        if entities:  # what is led is found first: as factors, it would have to differ with what is open
            fit.find_leads()
            fit.improve("entities")
    return fit.factors


class _Fit:
    """The weights of all predictions under the factors so far, kept up to date with them."""

    def __init__(self, lesson: Lesson, factors: Factors) -> None:
        self.factors = factors
        self._lesson = lesson
        self._weights = lesson.probabilities.astype(np.float32)  # (predictions, mini_apps), rows of any sum
        self._unled = np.ones(len(lesson))  # chance that each step was not led by an entity
        self._common = np.ones((1 + len(STEPS), 1))  # factors of going back that all mini-apps have in common

    def improve(self, name: str) -> None:
        """One round of proportional fitting of one kind of factors, drawn to 1, or to what they have in common."""
        factors, usual = getattr(self.factors, name), self._common if name == "revisits" else 1.0
        seen, expected = self._sums(name, factors.shape)
        better = usual * (seen + PRIORS[name]) / (expected * usual / factors + PRIORS[name])
        _keep_unknown(name, better)
        self._multiply(name, better / factors)
        self.factors = replace(self.factors, **{name: better.astype(np.float32)})

    def improve_common(self) -> None:
        """Staying and going back as such, then by how long ago: what all mini-apps have in common needs no prior."""
        for groups in (np.minimum(np.arange(1 + len(STEPS)), 2), np.arange(1 + len(STEPS))):
            ratios = self._common_ratios(groups)[:, None] * np.ones(self.factors.revisits.shape[1])
            self._multiply("revisits", ratios)
            self._common = self._common * ratios[:, :1]
            self.factors = replace(self.factors, revisits=(self.factors.revisits * ratios).astype(np.float32))

    def _common_ratios(self, groups: Ints) -> Floats:
        """What groups of rows of STEPS are to be multiplied by, of each row; the first is left at 1."""
        count = int(groups.max()) + 1
        seen, expected = np.zeros(count), np.zeros(count)
        for rows in self._pieces():
            steps, unled = groups[self._lesson.situations.steps[rows]], self._unled[rows]
            share = self._weights[rows] / self._weights[rows].sum(axis=1, keepdims=True)
            expected += np.bincount(steps.ravel(), (share * unled[:, None]).ravel(), count)
            taken = np.take_along_axis(steps, self._lesson.actions[rows, None], axis=1)[:, 0]
            seen += np.bincount(taken, unled, count)
        ratios = (seen + 1.0) / (expected + 1.0)
        ratios[0] = 1.0
        return np.asarray(ratios[groups], np.float64)

    def find_leads(self) -> None:
        """Where entities lead, given what the factors expect."""
        entities, actions = self._lesson.situations.entities, self._lesson.actions
        shape = self.factors.leads.shape
        steps = np.bincount(entities, minlength=shape[0])[:, None]
        expected = self._likelihoods()
        leads = self.factors.leads.astype(np.float64)
        if not leads.any():
            leads[1:] = FIRST_LEAD / shape[1]
        for _ in range(LEAD_ROUNDS):
            led = _shares_led(leads, entities, actions, expected)
            found = np.bincount(entities * shape[1] + actions, led, shape[0] * shape[1]).reshape(shape)
            leads = np.maximum(found - CHANCE_LEADS, 0.0) / np.maximum(steps, 1)
            leads[0] = 0.0
        self._unled = 1.0 - _shares_led(leads, entities, actions, expected)
        self.factors = replace(self.factors, leads=leads.astype(np.float32))

    def _likelihoods(self) -> Floats:
        taken = np.take_along_axis(self._weights, self._lesson.actions[:, None], axis=1)[:, 0]
        return np.asarray(taken / self._weights.sum(axis=1), np.float64)

    def _sums(self, name: str, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        """How often each factor was seen and is expected, led steps left out."""
        mini_apps = self._weights.shape[1]
        width = len(STEPS) + 1 if name == "class_revisits" else mini_apps
        seen, expected = np.zeros(shape[0] * width), np.zeros(shape[0] * width)
        for rows in self._pieces():
            cells = self._cells(name, rows)
            weights = self._weights[rows]
            share = weights * (self._unled[rows, None] / weights.sum(axis=1, keepdims=True))
            happened = self._lesson.actions[rows, None] == np.arange(mini_apps)
            unled = happened * self._unled[rows, None]
            if name in GOING:
                stays = self._lesson.situations.current[rows, None] == np.arange(mini_apps)
                share, unled = np.where(stays, 0.0, share), np.where(stays, 0.0, unled)
            expected += np.bincount(cells.ravel(), share.ravel(), len(expected))
            seen += np.bincount(cells.ravel(), unled.ravel(), len(seen))
        return seen.reshape(shape[0], width), expected.reshape(shape[0], width)

    def _multiply(self, name: str, ratios: Floats) -> None:
        flat = ratios.astype(np.float32).ravel()
        for rows in self._pieces():
            ratio = flat[self._cells(name, rows)]
            if name in GOING:
                current = self._lesson.situations.current[rows]
                open_ = np.flatnonzero(current != NO_MINI_APP)
                ratio[open_, current[open_]] = 1.0
            self._weights[rows] *= ratio

    def _cells(self, name: str, rows: slice) -> npt.NDArray[np.int32]:
        """Which factor of a kind each prediction and mini-app has: (predictions, mini_apps)."""
        here, mini_apps = self._lesson.situations[rows], self._weights.shape[1]
        columns = np.arange(mini_apps, dtype=np.int32)
        if name == "revisits":
            return here.steps.astype(np.int32) * mini_apps + columns
        if name == "class_revisits":
            return here.user_classes[:, None].astype(np.int32) * (1 + len(STEPS)) + here.steps
        groups = {"after": here.current + 1, "classes": here.user_classes, "entities": here.entities}[name]
        return groups[:, None].astype(np.int32) * mini_apps + columns

    def _pieces(self) -> Iterator[slice]:
        for first in range(0, len(self._lesson), PREDICTIONS_AT_ONCE):
            yield slice(first, min(first + PREDICTIONS_AT_ONCE, len(self._lesson)))


def _keep_unknown(name: str, factors: Floats) -> None:
    factors[0] = 1.0
    if name == "class_revisits":
        factors[:, 0] = 1.0


def _shares_led(leads: Floats, entities: Ints, actions: Ints, expected: Floats) -> Floats:
    """Chance that each step was led there."""
    lead = leads[entities, actions]
    others = (1.0 - leads.sum(axis=1)[entities]) * expected
    return np.asarray(lead / (lead + others), np.float64)
