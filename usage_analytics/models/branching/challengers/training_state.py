"""How far the training of the recurrent network has come: kept on disk, so that a killed one goes on from there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from usage_analytics.errors import UserError
from usage_analytics.models.branching.array_file import read_arrays, write_arrays
from usage_analytics.models.branching.challengers.gru import GruWeights
from usage_analytics.models.branching.challengers.gru_network import Step

LOGGER = logging.getLogger(__name__)

_KIND = "state of training"


@dataclass(frozen=True)
class EpochFigures:
    """How one pass over the training data went; losses in nats per prediction."""

    training_loss: float
    validation_loss: float
    rate: float  # Adam's


@dataclass(frozen=True)
class TrainingState:
    """All that training goes on from."""

    rate: float
    variables: Sequence[npt.NDArray[Any]]  # of the network and its optimiser
    best: GruWeights
    best_loss: float = float("inf")
    epochs: tuple[EpochFigures, ...] = ()  # those that are over
    without_gain: int = 0  # epochs since the best
    step: int = 0  # batches of the running epoch that are done
    predictions: float = 0.0  # in them
    losses: float = 0.0  # of these, their sum
    finished: bool = False

    def stepped(self, step: Step) -> TrainingState:
        """One batch later; the variables are those of before."""
        losses, predictions = self.losses + step.loss * step.predictions, self.predictions + step.predictions
        return replace(self, step=self.step + 1, predictions=predictions, losses=losses)


def write_state(path: Path, identity: str, state: TrainingState) -> None:
    """Keep the state of the training of this identity, whole or not at all."""
    facts = {name: value for name, value in vars(state).items() if name not in ("variables", "best", "epochs")}
    facts |= {"identity": identity, "epochs": [vars(epoch) for epoch in state.epochs]}
    arrays = {f"variable_{place:03d}": value for place, value in enumerate(state.variables)}
    best = {f"best_{name}": value for name, value in vars(state.best).items()}
    write_arrays(path, _KIND, facts, arrays | best)


def read_state(path: Path, identity: str) -> TrainingState | None:
    """The kept state; none where there is none, or it is of another training, or broken: then it begins anew."""
    try:
        facts, arrays = read_arrays(path, _KIND)
    except FileNotFoundError:
        return None
    except UserError as error:
        LOGGER.warning("Training begins anew: %s", error)
        return None
    if facts.pop("identity") != identity:
        return None
    best = {name.removeprefix("best_"): value for name, value in arrays.items() if name.startswith("best_")}
    variables = [arrays[name] for name in sorted(arrays) if name.startswith("variable_")]
    epochs = tuple(EpochFigures(**epoch) for epoch in facts.pop("epochs"))
    return TrainingState(variables=variables, best=GruWeights(**best), epochs=epochs, **facts)
