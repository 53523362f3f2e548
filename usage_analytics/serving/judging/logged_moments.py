"""What a platform that preloads by chance must write down, and what is asked about it: columns, checked on entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Flags, Floats, Ints

Column = npt.NDArray[Any]

ROUNDING = 1e-6  # of probabilities that were summed or written as text


@dataclass(frozen=True)
class LoggedMoments:
    """One row per moment at which the platform took one action by chance. UserError names an unfit column and row.

    users: (moments,) texts or whole numbers. propensities: (moments,) the probability with which the logging policy
    took the action that it took, in (0, 1]; NaN where it was not written down. rewards: (moments,) milliseconds saved
    less milliseconds of cost.
    """

    users: Column
    propensities: Floats
    rewards: Floats

    def __post_init__(self) -> None:
        if not len(self.rewards):
            raise UserError("no moments were logged: there is nothing to evaluate")
        check_length("users", self.users, len(self.rewards))
        check_length("propensities", self.propensities, len(self.rewards))
        if self.users.dtype.kind not in "iuU":
            unnamed = np.array([not isinstance(user, str) for user in self.users.tolist()])
            refuse("users", unnamed, self.users, "a user is a text, or all users are whole numbers")
        outside = (self.propensities <= 0.0) | (self.propensities > 1.0)
        refuse("propensities", outside, self.propensities, "a propensity lies above 0 and not above 1")
        refuse("rewards", ~np.isfinite(self.rewards), self.rewards, "a reward is a number of milliseconds")


@dataclass(frozen=True)
class TargetPolicy:
    """What the policy to be judged would have done at each logged moment. UserError names an unfit column and row.

    of_logged: (moments,) its probability of the logged action. unsupported: (moments,) its probability of all actions
    together that the logging policy could not have taken at that moment: zeros where it could take any.
    """

    of_logged: Floats
    unsupported: Floats

    def __post_init__(self) -> None:
        check_length("unsupported", self.unsupported, len(self.of_logged))
        check_probabilities("of_logged", self.of_logged)
        check_probabilities("unsupported", self.unsupported)
        both = self.of_logged + self.unsupported
        refuse("of_logged + unsupported", both > 1.0 + ROUNDING, both, "together they are not above 1")


@dataclass(frozen=True)
class RewardPredictions:
    """What one reward model expects at each logged moment, in milliseconds. UserError names an unfit column and row.

    of_logged: (moments,) of the logged action. under_target: (moments,) of the target policy, that is the mean over
    actions by the target's probabilities: of the same model, or else the doubly robust estimate is wrong.
    """

    of_logged: Floats
    under_target: Floats

    def __post_init__(self) -> None:
        check_length("under_target", self.under_target, len(self.of_logged))
        for name, values in (("of_logged", self.of_logged), ("under_target", self.under_target)):
            refuse(name, ~np.isfinite(values), values, "a prediction is a number of milliseconds")


def target_policy(target: Floats, logging: Floats, actions: Ints) -> TargetPolicy:
    """The target policy at logged moments, where the probabilities of all actions are known of both policies.

    target, logging: (moments, actions); NaN in `logging` where it was not written down. actions: (moments,) column of
    the logged action. UserError names an unfit column and row.
    """
    check_policy("target", target, actions)
    if logging.shape != target.shape:
        raise UserError(f"logging: an array of shape {logging.shape}, where target has {target.shape}")
    refuse("logging", (logging < 0.0) | (logging > 1.0), logging, "a probability lies between 0 and 1")
    rows = np.arange(len(actions))
    refuse("logging", logging[rows, actions] == 0.0, logging, "the logged action cannot have probability 0")
    unsupported = np.where(logging == 0.0, target, 0.0).sum(axis=1)
    return TargetPolicy(target[rows, actions], np.minimum(unsupported, 1.0))


def check_policy(name: str, probabilities: Floats, actions: Ints) -> None:
    """UserError unless there are probabilities (moments, actions) that sum to 1, and `actions` are columns of them."""
    if probabilities.ndim != 2:
        raise UserError(f"{name}: an array of shape {probabilities.shape}, where (moments, actions) is needed")
    check_length(name, probabilities, len(actions))
    check_probabilities(name, probabilities)
    unequal = np.abs(probabilities.sum(axis=1) - 1.0) > ROUNDING
    refuse(name, unequal, probabilities, "the probabilities of all actions sum to 1")
    beyond = (actions < 0) | (actions >= probabilities.shape[1])
    refuse("actions", beyond, actions, f"{name} has {probabilities.shape[1]} actions, numbered from 0")


def check_length(name: str, values: Column, moments: int) -> None:
    """UserError unless there is one row per moment."""
    if len(values) != moments:
        raise UserError(f"{name}: {len(values)} rows, where there are {moments} moments")


def check_probabilities(name: str, values: Floats) -> None:
    """UserError unless all lie between 0 and 1."""
    refuse(name, ~((values >= 0.0) & (values <= 1.0)), values, "a probability lies between 0 and 1")


def refuse(name: str, wrong: Flags, values: Column, rule: str) -> None:
    """UserError that names the first wrong row, counted from 0, and the rule that it breaks."""
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        raise UserError(f"{name}: row {row} has {values[row]}: {rule}")
