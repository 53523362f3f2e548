"""Session-kNN as a model of the next mini-app: neighbours from some folds of users, probabilities by another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.challengers.calibration import Calibration, calibrate
from usage_analytics.models.branching.challengers.neighbours import NeighbourSettings, neighbour_shares
from usage_analytics.models.branching.challengers.recent_sessions import RecentSessions, recent_sessions
from usage_analytics.models.branching.challengers.survey import survey
from usage_analytics.models.branching.sequence_model import distinct_rows, reserve
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch, read_sessions

_USUAL = NeighbourSettings()
_CALIBRATED, _CALIBRATED_CELLS = 20_000, 2**22  # predictions and probabilities at most: bounds time and memory


@dataclass(frozen=True)
class NeighbourModel:
    """A `SequenceModel`; memory and time of a prediction are bounded by the settings, not by history."""

    mini_apps: tuple[str, ...]
    reserved: float
    settings: NeighbourSettings
    recent: RecentSessions
    calibration: Calibration

    def probabilities(self, sessions: CodedSessions) -> Floats:
        """As `SequenceModel` says; equal contexts are asked for once."""
        contexts, rows = distinct_rows(sessions.contexts(self.settings.longest))
        shares = neighbour_shares(self.recent, contexts, len(self.mini_apps), self.settings)
        return self.calibration.probabilities(shares, contexts)[rows]


def fit_neighbours(
    paths: Sequence[Path],
    fit_folds: Sequence[int],
    validation_fold: int,
    settings: NeighbourSettings = _USUAL,
    seed: int = 1,
    watch: Callable[[int], None] = lambda _: None,
) -> NeighbourModel:
    """Keep the most recent sessions of some folds, and calibrate on a seeded sample of another's predictions.

    `watch` is told of each batch of sessions that is read, how many they are. `UserError` where a file is broken or a
    fold is empty.
    """
    learned = survey(paths, fit_folds)
    survey(paths, [validation_fold])  # refuses an empty one
    apps = learned.mini_apps
    recent = recent_sessions(_watched(read_sessions(paths, apps, fit_folds), watch), len(apps), settings.compared)
    validation = _watched(read_sessions(paths, apps, [validation_fold]), watch)
    contexts, actions = _sample(validation, settings.longest, min(_CALIBRATED, _CALIBRATED_CELLS // len(apps)), seed)
    distinct, rows = distinct_rows(contexts)
    shares = neighbour_shares(recent, distinct, len(apps), settings)[rows]
    calibration = calibrate(shares, contexts, actions, learned.frequencies())
    return NeighbourModel(apps, reserve(learned.predictions), settings, recent, calibration)


def _watched(batches: Iterable[SessionBatch], watch: Callable[[int], None]) -> Iterator[SessionBatch]:
    for batch in batches:
        yield batch
        watch(len(batch.sessions))


def _sample(batches: Iterable[SessionBatch], longest: int, most: int, seed: int) -> tuple[Ints, Ints]:
    """Contexts (rows, longest) and actions (rows,) of predictions drawn evenly: those of the least random keys."""
    random = np.random.default_rng(seed)
    contexts, actions, keys = np.empty((0, longest), np.int64), np.empty(0, np.int64), np.empty(0)
    for batch in batches:
        following = batch.sessions.following()
        contexts = np.concatenate([contexts, batch.sessions.contexts(longest)])
        actions = np.concatenate([actions, following - 1])
        keys = np.concatenate([keys, np.where(following > 0, random.random(len(following)), np.inf)])
        least = np.sort(np.argsort(keys, kind="stable")[:most])
        contexts, actions, keys = contexts[least], actions[least], keys[least]
    known = actions >= 0
    return contexts[known], actions[known]
