"""Going back: how much likelier, or less likely, a mini-app is because it was opened earlier in this user session.

Counts of the last three mini-apps know nothing of what came before them. Here the probability of each mini-app is
multiplied by a factor for how many steps ago it was last opened and one for how often; all are divided by their sum.
Factors above 1 say that users come back, below 1 that they do not; a mini-app not opened yet has the factor 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.challengers.sequence_model import SequenceModel
from usage_analytics.models.branching.coded_sessions import CodedSessions
from usage_analytics.models.branching.context_levels import Floats, Ints

Rows = npt.NDArray[np.int8]

STEPS = (1, 2, 3, 4, 5, 7, 10, 20)  # since the last visit: where each row of factors begins; the last has no end
VISITS = (1, 2, 3, 5, 9)  # so far
PRIOR = 50.0  # returns expected of the factor 1: so many weigh as much as what was seen
ROUNDS = 40


@dataclass(frozen=True)
class Revisits:
    """Of each prediction and mini-app, the row of STEPS and of VISITS, from 1 on; 0: not opened yet."""

    steps: Rows  # (predictions, mini_apps)
    visits: Rows  # (predictions, mini_apps)


@dataclass(frozen=True)
class RevisitFactors:
    """What probabilities are multiplied by; the first row of each, of mini-apps not opened yet, is 1."""

    steps: Floats  # (1 + STEPS, mini_apps)
    visits: Floats  # (1 + VISITS,)

    @classmethod
    def none(cls, mini_apps: int) -> RevisitFactors:
        """Factors that change nothing."""
        return cls(np.ones((1 + len(STEPS), mini_apps)), np.ones(1 + len(VISITS)))

    def of(self, revisits: Revisits) -> Floats:
        """The factor of each mini-app: (predictions, mini_apps)."""
        return self.steps[revisits.steps, np.arange(self.steps.shape[1])] * self.visits[revisits.visits]

    def apply(self, probabilities: Floats, revisits: Revisits) -> Floats:
        """Probabilities (predictions, mini_apps) that take going back into account; rows sum to one."""
        weighted = probabilities * self.of(revisits)
        return weighted / weighted.sum(axis=1, keepdims=True)


class RevisitingModel:
    """A `SequenceModel` made of another and of what going back adds to it."""

    def __init__(self, model: SequenceModel, factors: RevisitFactors) -> None:
        self._model, self.factors = model, factors
        self.mini_apps, self.reserved = model.mini_apps, model.reserved

    def probabilities(self, sessions: CodedSessions) -> Floats:
        """As `SequenceModel` says."""
        return self.factors.apply(self._model.probabilities(sessions), revisits(sessions, len(self.mini_apps)))


def revisits(sessions: CodedSessions, mini_apps: int) -> Revisits:
    """What was opened before each prediction, how long ago and how often, within its user session."""
    events = np.arange(len(sessions.codes))
    lengths = sessions.lengths()
    begins = np.repeat(sessions.starts[:-1], lengths)
    predicted = np.flatnonzero(events > begins)
    steps = np.zeros((len(predicted), mini_apps), np.int8)
    visits = np.zeros((len(predicted), mini_apps), np.int8)
    for position in range(mini_apps):
        here = sessions.codes == position + 1
        latest = np.maximum.accumulate(np.where(here, events, -1))[predicted - 1]
        opened = latest >= begins[predicted]
        steps[:, position] = np.where(opened, np.searchsorted(STEPS, predicted - latest, side="right"), 0)
        before = np.append(0, np.cumsum(here))
        count = before[predicted] - before[begins[predicted]]
        visits[:, position] = np.searchsorted(VISITS, count, side="right")
    return Revisits(steps, visits)


def learn_revisits(model: SequenceModel, sessions: CodedSessions) -> RevisitFactors:
    """The likeliest factors for user sessions that the model did not learn from.

    They are those with which as many returns are expected as were seen (iterative proportional fitting; Deming &
    Stephan, 1940); the factors of a single mini-app are drawn towards the common ones where few returns were expected
    (a gamma prior). All are 1 where no user session has a second event of a mini-app that the model knows.
    """
    apps = len(model.mini_apps)
    actions = sessions.following() - 1
    known = np.flatnonzero(actions >= 0)
    if not len(known):
        return RevisitFactors.none(apps)
    fit = _Fit(model.probabilities(sessions)[known], _rows(revisits(sessions, apps), known), actions[known])
    common, own, visits = np.ones(1 + len(STEPS)), np.ones((1 + len(STEPS), apps)), np.ones(1 + len(VISITS))
    for _ in range(ROUNDS):
        expected = fit.by_steps(fit.expected(RevisitFactors(common[:, None] * own, visits)))
        common *= _ratio(fit.returns.sum(axis=1), expected.sum(axis=1))
        common[0] = 1.0
        expected = fit.by_steps(fit.expected(RevisitFactors(common[:, None] * own, visits)))
        own = (fit.returns + PRIOR) / (expected / own + PRIOR)
        own[0] = 1.0
        expected = fit.by_visits(fit.expected(RevisitFactors(common[:, None] * own, visits)))
        visits = (fit.returns_by_visits + PRIOR) / (expected / visits + PRIOR)
        visits[:2] = 1.0  # what was opened once is told by its steps
    return RevisitFactors(common[:, None] * own, visits)


class _Fit:
    """Predictions of mini-apps that are known, and what was opened."""

    def __init__(self, probabilities: Floats, seen: Revisits, actions: Ints) -> None:
        self._probabilities, self._seen = probabilities, seen
        happened = np.zeros(probabilities.shape)
        happened[np.arange(len(actions)), actions] = 1.0
        self.returns = self.by_steps(happened)  # (1 + STEPS, mini_apps)
        self.returns_by_visits = self.by_visits(happened)  # (1 + VISITS,)

    def expected(self, factors: RevisitFactors) -> Floats:
        return factors.apply(self._probabilities, self._seen)

    def by_steps(self, weights: Floats) -> Floats:
        apps = weights.shape[1]
        cells = self._seen.steps * np.int64(apps) + np.arange(apps)
        counted = np.bincount(cells.ravel(), weights.ravel(), (1 + len(STEPS)) * apps)
        return np.asarray(counted.reshape(-1, apps), np.float64)

    def by_visits(self, weights: Floats) -> Floats:
        return np.asarray(np.bincount(self._seen.visits.ravel(), weights.ravel(), 1 + len(VISITS)), np.float64)


def _rows(seen: Revisits, rows: Ints) -> Revisits:
    return Revisits(seen.steps[rows], seen.visits[rows])


def _ratio(found: Floats, expected: Floats) -> Floats:
    """What makes as many expected as were found, as if one more of each had been."""
    return (found + 1.0) / (expected + 1.0)
