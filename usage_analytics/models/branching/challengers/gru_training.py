"""Trains the recurrent network from Parquet: seeded, stopped early by users it does not learn from, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.models.branching.challengers.gru import GruModel, GruWeights
from usage_analytics.models.branching.challengers.gru_network import GruNetwork
from usage_analytics.models.branching.challengers.survey import Survey, survey
from usage_analytics.models.branching.challengers.training_batches import (
    BatchSettings,
    TrainingBatch,
    training_batches,
)
from usage_analytics.models.branching.challengers.training_state import (
    EpochFigures,
    TrainingState,
    read_state,
    write_state,
)
from usage_analytics.models.branching.scoring import score
from usage_analytics.models.branching.sequence_model import reserve
from usage_analytics.models.branching.sessions.user_sessions import RowGroup, read_sessions, row_groups

STATE_FILE = "training.npz"


@dataclass(frozen=True)
class GruSettings:
    """What the trained weights depend on, beside the data."""

    units: int = 96
    rate: float = 4e-3  # Adam's; halved after each epoch without gain
    epochs: int = 20  # at most
    patience: int = 3  # epochs without gain that end the training
    least_gain: float = 5e-4  # in validation log-loss, nats
    seed: int = 1
    batches: BatchSettings = field(default_factory=BatchSettings)


@dataclass(frozen=True)
class Standing:
    """How far training is, for whoever waits."""

    epoch: int  # from 1
    epochs: int  # at most
    share: float  # of this epoch's predictions that are done
    loss: float  # of these, nats per prediction
    validation_loss: float | None  # the best so far


@dataclass(frozen=True)
class TrainedGru:
    """The weights that did best on the validation fold, and how each epoch went."""

    model: GruModel
    epochs: tuple[EpochFigures, ...]


def train_gru(
    paths: Sequence[Path],
    folder: Path,
    fit_folds: Sequence[int],
    validation_fold: int,
    settings: GruSettings = GruSettings(),
    checkpoint_steps: int = 200,
    watch: Callable[[Standing], None] = lambda _: None,
) -> TrainedGru:
    """Fit to the user sessions of some folds, and stop when another fold is predicted no better.

    Keeps its state in `folder` every `checkpoint_steps` batches. Killed and called again with the same data and
    settings it goes on from there, and ends with the weights of a training that was never killed; called once more, it
    only reads them, without TensorFlow. `watch` is told after each batch. Memory is bounded by
    `settings.batches.block`. `UserError` where a file is broken, a fold is empty, or TensorFlow is not installed.
    """
    data = _Data(paths, row_groups(paths), survey(paths, fit_folds), tuple(fit_folds), validation_fold)
    survey(paths, [validation_fold])  # refuses an empty one now, not after the first epoch
    file, identity = folder / STATE_FILE, _identity(data, settings)
    state = read_state(file, identity)
    if state is None or not state.finished:
        every = _Every(checkpoint_steps, lambda reached: write_state(file, identity, reached), watch)
        state = _train(state, data, settings, every)
    return TrainedGru(_model(data, state.best), state.epochs)


@dataclass(frozen=True)
class _Data:
    paths: Sequence[Path]
    groups: Sequence[RowGroup]
    learned: Survey
    fit_folds: tuple[int, ...]
    validation_fold: int


@dataclass(frozen=True)
class _Every:
    """What happens beside the learning: states are kept after so many batches, progress is told after each."""

    checkpoint_steps: int
    keep: Callable[[TrainingState], None]
    watch: Callable[[Standing], None]


def _train(state: TrainingState | None, data: _Data, settings: GruSettings, every: _Every) -> TrainingState:
    """Go on from a state, or begin; until it is finished."""
    network = GruNetwork(data.learned.frequencies(), settings.units, settings.seed)
    state = state or TrainingState(settings.rate, network.variables(), network.weights())
    network.restore(state.variables)
    while not state.finished:
        for step in network.learn(_batches(data, settings, len(state.epochs)), state.step, state.rate):
            state = state.stepped(step)
            if state.step % every.checkpoint_steps == 0:
                state = replace(state, variables=network.variables())
                every.keep(state)
            every.watch(_standing(state, data, settings))
        state = _after_epoch(state, network, data, settings)
        every.keep(state)
    return state


def _batches(data: _Data, settings: GruSettings, epoch: int) -> Callable[[], Iterator[TrainingBatch]]:
    seed = (settings.seed, epoch)
    return lambda: training_batches(data.groups, data.learned.mini_apps, data.fit_folds, settings.batches, seed)


def _after_epoch(state: TrainingState, network: GruNetwork, data: _Data, settings: GruSettings) -> TrainingState:
    weights = network.weights()
    validation = read_sessions(data.paths, data.learned.mini_apps, [data.validation_fold])
    loss = score(_model(data, weights), validation).log_loss
    epochs = (*state.epochs, EpochFigures(state.losses / state.predictions, loss, state.rate))
    gained = loss < state.best_loss - settings.least_gain
    without_gain = 0 if gained else state.without_gain + 1
    best = (weights, loss) if loss < state.best_loss else (state.best, state.best_loss)
    return replace(
        state,
        rate=state.rate if gained else state.rate / 2,
        variables=network.variables(),
        best=best[0],
        best_loss=best[1],
        epochs=epochs,
        without_gain=without_gain,
        step=0,
        predictions=0.0,
        losses=0.0,
        finished=len(epochs) >= settings.epochs or without_gain >= settings.patience,
    )


def _model(data: _Data, weights: GruWeights) -> GruModel:
    return GruModel(data.learned.mini_apps, reserve(data.learned.predictions), weights)


def _standing(state: TrainingState, data: _Data, settings: GruSettings) -> Standing:
    share, loss = state.predictions / data.learned.predictions, state.losses / state.predictions
    best = state.best_loss if state.epochs else None
    return Standing(len(state.epochs) + 1, settings.epochs, share, loss, best)


def _identity(data: _Data, settings: GruSettings) -> str:
    """Differs where data, settings or TensorFlow do, and a kept state would be that of another training."""
    parts = [(group.path.name, group.number, group.rows, group.checksum) for group in data.groups]
    told = (asdict(settings), data.learned.mini_apps, data.fit_folds, data.validation_fold, parts, _keras_version())
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _keras_version() -> str:
    try:
        return version("keras")
    except PackageNotFoundError as error:
        raise UserError(
            f"The recurrent network needs the ai extra (pip install 'usage_analytics[ai]'): {error}"
        ) from None
