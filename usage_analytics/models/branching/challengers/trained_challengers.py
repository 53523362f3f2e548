"""Trains the challengers that can be trained here, each from the same user sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.models.branching.challengers.gru_training import Standing, train_gru
from usage_analytics.models.branching.challengers.neighbour_model import fit_neighbours
from usage_analytics.models.branching.sequence_model import SequenceModel

GRU, NEIGHBOURS = "gru", "neighbours"
FIT_FOLDS, VALIDATION_FOLD = (0, 1, 2, 3), 4

Watch = Callable[[str], None]  # is told in a sentence what goes on


@dataclass(frozen=True)
class TrainedChallengers:
    """Trained challengers by name; and why others are not among them."""

    models: dict[str, SequenceModel]
    absent: dict[str, str]


def train_challengers(paths: Sequence[Path], folder: Path, watch: Watch) -> TrainedChallengers:
    """Learn from files of user sessions; the network keeps its state in ``folder`` and goes on from there."""
    trainings: dict[str, Callable[[], SequenceModel]] = {
        NEIGHBOURS: lambda: fit_neighbours(paths, FIT_FOLDS, VALIDATION_FOLD),
        GRU: lambda: _gru(paths, folder, watch),
    }
    models, absent = {}, {}
    for name, train in trainings.items():
        watch(f"{name} learns from {len(paths)} trading days")
        try:
            models[name] = train()
        except UserError as error:
            absent[name] = str(error)
            watch(f"{name} is not trained: {error}")
    return TrainedChallengers(models, absent)


def _gru(paths: Sequence[Path], folder: Path, watch: Watch) -> SequenceModel:
    return train_gru(paths, folder, FIT_FOLDS, VALIDATION_FOLD, watch=_epoch_by_epoch(watch)).model


def _epoch_by_epoch(watch: Watch) -> Callable[[Standing], None]:
    begun = 0

    def tell(standing: Standing) -> None:
        nonlocal begun
        if standing.epoch > begun:
            begun = standing.epoch
            best = "" if standing.validation_loss is None else f"; log-loss so far {standing.validation_loss:.4f}"
            watch(f"{GRU}: epoch {standing.epoch} of {standing.epochs} at most{best}")

    return tell
