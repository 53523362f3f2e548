"""How well a sequence model predicts user sessions it never saw: one measure for the counts and all challengers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.calibration_bins import BINS, calibration_error, calibration_gaps
from usage_analytics.models.branching.sequence_model import SequenceModel
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch

# From sessions and the probabilities given for them, what acting on these brings at each prediction, in milliseconds.
Worth = Callable[[SessionBatch, Floats], Floats]


@dataclass(frozen=True)
class UserTotals:
    """Sums by user, sorted by user: what differences between models are paired by."""

    users: tuple[str, ...]
    predictions: Ints  # (users,)
    log_loss: Floats  # (users,) nats
    net_benefit_ms: Floats | None = None  # (users,) where a replay gives them


@dataclass(frozen=True)
class Scores:
    """Figures over all predictions: every event but the first of each user session."""

    predictions: int
    unknown_predictions: int  # of mini-apps outside the vocabulary: always a miss, at the probability reserved for them
    recall_at_1: float
    recall_at_3: float
    log_loss: float  # nats per prediction
    calibration_error: float  # expected calibration error of the first prediction, 0 to 1
    by_user: UserTotals
    net_benefit_ms: float | None = None  # per prediction; none: not replayed


def score(model: SequenceModel, batches: Iterable[SessionBatch], worth: Worth | None = None) -> Scores:
    """Predict every event but the first of each session. ValueError when there is nothing to predict.

    Net benefits are those that `worth` tells. Memory is bounded by one batch and the number of users.
    """
    sums = _Sums(worth)
    for batch in batches:
        sums.add(model, batch)
    return sums.scores()


@dataclass
class _Sums:
    worth: Worth | None
    predictions: int = 0
    unknown: int = 0
    hits_at_1: int = 0
    hits_at_3: int = 0
    gaps: Floats = field(default_factory=lambda: np.zeros(BINS))
    users: dict[str, Floats] = field(default_factory=dict)  # predictions, losses, net benefits

    def add(self, model: SequenceModel, batch: SessionBatch) -> None:
        following = batch.sessions.following()
        if not len(following):
            return
        probabilities = model.probabilities(batch.sessions)
        places, likelihoods = _judge(probabilities, following - 1, model.reserved)
        confidences = probabilities.max(axis=1) * (1.0 - model.reserved)
        self.predictions += len(following)
        self.unknown += int((following < 1).sum())
        self.hits_at_1 += int((places < 1).sum())
        self.hits_at_3 += int((places < 3).sum())
        self.gaps += calibration_gaps(confidences, places < 1)
        benefits = np.zeros(len(following)) if self.worth is None else self.worth(batch, probabilities)
        self._add_users(batch, (np.ones(len(following)), -np.log(likelihoods), benefits))

    def _add_users(self, batch: SessionBatch, figures: Sequence[Floats]) -> None:
        encoded = batch.user_ids.dictionary_encode()
        users = encoded.indices.to_numpy()[batch.sessions.sessions_of_predictions()]
        sums = np.stack([np.bincount(users, figure, len(encoded.dictionary)) for figure in figures], axis=1)
        for user, of_user in zip(encoded.dictionary.to_pylist(), sums, strict=True):
            if of_user[0]:
                self.users[user] = self.users.get(user, 0.0) + of_user

    def scores(self) -> Scores:
        if not self.predictions:
            raise ValueError("no user session holds a second event: there is nothing to predict")
        users = tuple(sorted(self.users))
        predictions, losses, benefits = np.stack([self.users[user] for user in users], axis=1)
        by_user = UserTotals(users, predictions.astype(np.int64), losses, benefits if self.worth else None)
        return Scores(
            predictions=self.predictions,
            unknown_predictions=self.unknown,
            recall_at_1=self.hits_at_1 / self.predictions,
            recall_at_3=self.hits_at_3 / self.predictions,
            log_loss=float(losses.sum()) / self.predictions,
            calibration_error=calibration_error(self.gaps, self.predictions),
            by_user=by_user,
            net_benefit_ms=float(benefits.sum()) / self.predictions if self.worth else None,
        )


def _judge(probabilities: Floats, actions: Ints, reserved: float) -> tuple[Ints, Floats]:
    """Place of what was opened (0 is best; of equals the first column), and its probability: (predictions,) each."""
    rows, apps = probabilities.shape
    known = actions >= 0
    given = probabilities[np.arange(rows), np.maximum(actions, 0)]
    ahead = (probabilities > given[:, None]).sum(axis=1)
    level = (probabilities == given[:, None]) & (np.arange(apps) < actions[:, None])
    places = np.where(known, ahead + level.sum(axis=1), apps)
    return places, np.where(known, given * (1.0 - reserved), reserved)
