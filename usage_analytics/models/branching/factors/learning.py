"""Learns the factors by which counts are corrected, from user sessions that were not counted.

The likeliest factors are those with which each is expected as often as it was seen (iterative proportional fitting;
Deming & Stephan, 1940; Darroch & Ratcliff, 1972). A gamma prior draws them to 1 where little was seen. Steps that an
entity leads to are told from the others by expectation and maximisation (Dempster, Laird & Rubin, 1977).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints, Reals
from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.models.branching.factors.kinds import Kind, common_revisits, kinds_of
from usage_analytics.models.branching.factors.situations import STEPS, Situations
from usage_analytics.models.branching.gains import paired_gain

MOST_CELLS = 64_000_000  # predictions times mini-apps: each takes 4 bytes twice
PREDICTIONS_AT_ONCE = 2**15
ROUNDS = 6
PAYS_FROM, LEAST_USERS = 2.0, 10  # standard errors over users; fewer users tell little of it
PRIORS = {"revisits": 50.0, "class_revisits": 20.0, "after": 20.0, "classes": 10.0, "entities": 30.0, "phases": 30.0}
CHANCE_LEADS = 3.0  # steps that are not held for led
LEAD_ROUNDS = 15
TRUST_PRIOR = 50.0  # how much evidence it takes to trust the counts otherwise than as they are
LONGEST_TRUST_STEP = 0.3


@dataclass(frozen=True)
class Lesson:
    """Predictions to learn from: the counts' probabilities, the situations, and what was opened."""

    probabilities: Reals  # (predictions, mini_apps)
    situations: Situations
    actions: Ints  # (predictions,) positions, all known
    users: Ints  # (predictions,) a number for each; the predictions of one stand together, and numbers rise

    def __len__(self) -> int:
        return len(self.actions)

    def __getitem__(self, rows: Ints) -> Lesson:
        return Lesson(self.probabilities[rows], self.situations[rows], self.actions[rows], self.users[rows])


def learn_factors(lesson: Lesson, classes: int, entities: int) -> Factors:
    """The likeliest factors; those that change nothing where there is nothing to learn from."""
    none = Factors.none(lesson.probabilities.shape[1], classes, entities)
    if not len(lesson):
        return none
    fit = _Fit(lesson, none)
    kinds = ["revisits", "after", *(["class_revisits", "classes"] if classes else [])]
    fit.improve_all(kinds)
    # Asked after a round, by when the others have said what they say better.
    kinds += ["phases"] if lesson.situations.phases.any() and fit.pays("phases") else []
    for _ in range(ROUNDS - 1):
        fit.improve_all(kinds)
    return fit.factors


class _Fit:
    """The weights of all predictions under the factors so far, kept up to date with them."""

    def __init__(self, lesson: Lesson, factors: Factors) -> None:
        self.factors = factors
        self._lesson, self._kinds = lesson, kinds_of(lesson.situations)
        self._weights = lesson.probabilities.astype(np.float32)  # (predictions, mini_apps), rows of any sum
        self._unled = np.ones(len(lesson))  # chance that each step was not led by an entity
        self._common = np.ones((1 + len(STEPS), 1))  # factors of going back that all mini-apps have in common

    def improve_all(self, kinds: Sequence[str]) -> None:
        """One round: trust, what going back has in common, some kinds, and what is in hand."""
        self.improve_trust()
        self.improve_common()
        for name in kinds:
            self.improve(name)
        if len(self.factors.entities) > 1:
            self.find_leads()  # first: as factors, what is led would have to differ with what is open
            self.improve("entities")

    def improve_trust(self) -> None:
        """One of Newton's steps to the power of the counts that makes what was opened likeliest."""
        slope, curve = TRUST_PRIOR * (1.0 - float(self.factors.trust[0])), TRUST_PRIOR
        for rows in self._pieces():
            logs, unled = self._logs(rows), self._unled[rows]
            shares = self._weights[rows] / self._weights[rows].sum(axis=1, keepdims=True)
            mean = (shares * logs).sum(axis=1)
            taken = np.take_along_axis(logs, self._lesson.actions[rows, None], axis=1)[:, 0]
            slope += float(unled @ (taken - mean))
            curve += float(unled @ ((shares * logs**2).sum(axis=1) - mean**2))
        step = np.float32(np.clip(slope / curve, -LONGEST_TRUST_STEP, LONGEST_TRUST_STEP))
        for rows in self._pieces():
            self._weights[rows] *= np.exp(step * self._logs(rows))
        self.factors = replace(self.factors, trust=self.factors.trust + step)

    def improve(self, name: str) -> None:
        """One round of proportional fitting of one kind of factors, drawn to 1, or to what they have in common."""
        kind, factors = self._kinds[name], getattr(self.factors, name).astype(np.float64)
        usual, prior = self._common if name == "revisits" else 1.0, PRIORS[name]
        seen, expected = self._sums(kind, factors.shape)
        better = usual * (seen + prior) / (expected * usual / factors + prior)
        better[0] = 1.0
        if name == "class_revisits":
            better[:, 0] = 1.0
        self._multiply(kind, better / factors)
        self.factors = replace(self.factors, **{name: better.astype(np.float32)})

    def pays(self, name: str) -> bool:
        """Whether factors of a kind, learned from half of the users, make what the others opened likelier."""
        kind, users = self._kinds[name], self._lesson.users
        half = int(np.searchsorted(users, users[len(users) // 2]))
        seen, expected = self._sums(kind, getattr(self.factors, name).shape, until=half)
        ratios = (seen + PRIORS[name]) / (expected + PRIORS[name])
        ratios[0] = 1.0
        gains = np.concatenate([self._gains(kind, ratios, rows) for rows in self._pieces(half)])
        others = users[half:] - users[half]
        predictions = np.bincount(others)
        if len(predictions) < LEAST_USERS:
            return False
        of_users = np.asarray(np.bincount(others, gains), np.float64)
        gain = paired_gain(of_users, np.zeros(len(predictions)), predictions.astype(np.int64))
        return gain.standard_error is not None and gain.mean > PAYS_FROM * gain.standard_error

    def improve_common(self) -> None:
        """The same for staying and going back as such, then by how long ago: what is common needs no prior."""
        for most_steps in (2, len(STEPS)):
            kind = common_revisits(self._lesson.situations, most_steps)
            seen, expected = self._sums(kind, (1, 1 + len(STEPS)))
            ratios = (seen + 1.0) / (expected + 1.0)
            ratios[0, 0] = 1.0
            self._multiply(kind, ratios)
            of_rows = ratios[0, np.minimum(np.arange(1 + len(STEPS)), most_steps)][:, None]
            self._common = self._common * of_rows
            self.factors = replace(self.factors, revisits=(self.factors.revisits * of_rows).astype(np.float32))

    def find_leads(self) -> None:
        """Where entities lead, given what the factors expect."""
        entities, actions = self._lesson.situations.entities, self._lesson.actions
        shape = self.factors.leads.shape
        steps = np.bincount(entities, minlength=shape[0])[:, None]
        expected = self._likelihoods()
        leads = self.factors.leads.astype(np.float64)
        if not leads.any():  # to begin with, what is seen more often than expected
            seen, usual = self._sums(self._kinds["entities"], shape)
            leads = np.maximum(seen - usual, 0.0) / np.maximum(steps, 1)
        for _ in range(LEAD_ROUNDS):
            led = _shares_led(leads, entities, actions, expected)
            found = np.bincount(entities * shape[1] + actions, led, shape[0] * shape[1]).reshape(shape)
            leads = np.maximum(found - CHANCE_LEADS, 0.0) / np.maximum(steps, 1)
            leads[0] = 0.0
        self._unled = 1.0 - _shares_led(leads, entities, actions, expected)
        self.factors = replace(self.factors, leads=leads.astype(np.float32))

    def _gains(self, kind: Kind, ratios: Floats, rows: slice) -> Floats:
        factors, weights = kind.of(ratios, rows), self._weights[rows]
        shares = weights / weights.sum(axis=1, keepdims=True)
        taken = np.take_along_axis(factors, self._lesson.actions[rows, None], axis=1)[:, 0]
        return np.asarray(self._unled[rows] * np.log(taken / (shares * factors).sum(axis=1)), np.float64)

    def _logs(self, rows: slice) -> Reals:
        return np.log(self._lesson.probabilities[rows])

    def _likelihoods(self) -> Floats:
        taken = np.take_along_axis(self._weights, self._lesson.actions[:, None], axis=1)[:, 0]
        return np.asarray(taken / self._weights.sum(axis=1), np.float64)

    def _sums(self, kind: Kind, shape: tuple[int, ...], until: int | None = None) -> tuple[Floats, Floats]:
        """How often each factor was seen and is expected, led steps left out."""
        seen, expected = np.zeros(shape), np.zeros(shape)
        for rows in self._pieces(0, until):
            kind.seen(self._lesson.actions, self._unled, rows, seen)
            weights = self._weights[rows]
            unled = (self._unled[rows] / weights.sum(axis=1)).astype(np.float32)
            kind.expected(weights * unled[:, None], rows, expected)
        return seen, expected

    def _multiply(self, kind: Kind, ratios: Floats) -> None:
        for rows in self._pieces():
            self._weights[rows] *= kind.of(ratios, rows)

    def _pieces(self, first: int = 0, end: int | None = None) -> Iterator[slice]:
        end = len(self._lesson) if end is None else end
        for start in range(first, end, PREDICTIONS_AT_ONCE):
            yield slice(start, min(start + PREDICTIONS_AT_ONCE, end))


def _shares_led(leads: Floats, entities: Ints, actions: Ints, expected: Floats) -> Floats:
    """Chance that each step was led there."""
    lead = leads[entities, actions]
    others = (1.0 - leads.sum(axis=1)[entities]) * expected
    return np.asarray(lead / (lead + others), np.float64)
