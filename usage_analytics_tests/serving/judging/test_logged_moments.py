"""Unfit columns of a log are refused by name and row; what a policy would have done is read off both policies."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from usage_analytics.errors import UserError
from usage_analytics.serving.judging.logged_moments import LoggedMoments, RewardPredictions, TargetPolicy, target_policy
from usage_analytics.serving.judging.off_policy import doubly_robust, inverse_propensity, self_normalised
from usage_analytics.serving.judging.reward_model import cross_fitted_rewards

NAN = float("nan")


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def logged(
    users: object = (1, 2, 3), propensities: object = (0.5, 1, 0.1), rewards: object = (9, 0, -4)
) -> LoggedMoments:
    return LoggedMoments(np.asarray(users), np.asarray(propensities, np.float64), np.asarray(rewards, np.float64))


def target(*of_logged: float) -> TargetPolicy:
    return TargetPolicy(column(*of_logged), np.zeros(len(of_logged)))


HALVES = np.full((3, 2), 0.5)
UNFIT: dict[str, tuple[Callable[[], object], str]] = {
    "no rows": (lambda: logged((), (), ()), "no moments were logged: there is nothing to evaluate"),
    "propensity 0": (
        lambda: logged(propensities=(0.5, 0, 1)),
        "propensities: row 1 has 0.0: a propensity lies above 0 and not above 1",
    ),
    "propensity above 1": (
        lambda: logged(propensities=(0.5, 0.5, 1.5)),
        "propensities: row 2 has 1.5: a propensity lies",
    ),
    "negative propensity": (lambda: logged(propensities=(-0.1, 0.5, 1)), "propensities: row 0 has -0.1: a propensity"),
    "reward NaN": (lambda: logged(rewards=(1, NAN, 2)), "rewards: row 1 has nan: a reward is a number of milliseconds"),
    "reward infinite": (lambda: logged(rewards=(1, 2, np.inf)), "rewards: row 2 has inf: a reward is a number of"),
    "a user too few": (lambda: logged(users=(1, 2)), "users: 2 rows, where there are 3 moments"),
    "a propensity too many": (
        lambda: logged(propensities=[0.5] * 4),
        "propensities: 4 rows, where there are 3 moments",
    ),
    "no user": (
        lambda: logged(users=np.array(["mary", None, "joe"], object)),
        "users: row 1 has None: a user is a text, or all users are whole numbers",
    ),
    "users with fractions": (lambda: logged(users=column(1, 2, NAN)), "users: row 0 has 1.0: a user is a text"),
    "target above 1": (lambda: target(0, 1, 1.01), "of_logged: row 2 has 1.01: a probability lies between 0 and 1"),
    "target NaN": (lambda: target(0, NAN, 1), "of_logged: row 1 has nan: a probability lies between 0 and 1"),
    "unsupported above 1": (
        lambda: TargetPolicy(column(0, 0), column(0, 1.1)),
        "unsupported: row 1 has 1.1: a probability lies between 0 and 1",
    ),
    "more than all": (
        lambda: TargetPolicy(column(0.5, 0.5), column(0.5, 0.75)),
        "of_logged + unsupported: row 1 has 1.25: together they are not above 1",
    ),
    "unsupported too short": (
        lambda: TargetPolicy(column(0, 0), column(0)),
        "unsupported: 1 rows, where there are 2 moments",
    ),
    "target of fewer moments": (
        lambda: self_normalised(logged(), target(0, 1)),
        "target: 2 rows, where there are 3 moments",
    ),
    "the same, for IPS": (
        lambda: inverse_propensity(logged(), target(0, 1)),
        "target: 2 rows, where there are 3 moments",
    ),
    "prediction NaN": (
        lambda: RewardPredictions(column(1, 2), column(NAN, 2)),
        "under_target: row 0 has nan: a prediction is a number of milliseconds",
    ),
    "predictions of unlike length": (
        lambda: RewardPredictions(column(1, 2), column(2)),
        "under_target: 1 rows, where there are 2 moments",
    ),
    "predictions of fewer moments": (
        lambda: doubly_robust(logged(), target(0, 1, 1), RewardPredictions(column(1, 2), column(1, 2))),
        "predictions: 2 rows, where there are 3 moments",
    ),
    "probabilities that do not sum to 1": (
        lambda: target_policy(np.array([[0.5, 0.5], [0.5, 0.4]]), HALVES[:2], np.array([0, 1])),
        "target: row 1 has [0.5 0.4]: the probabilities of all actions sum to 1",
    ),
    "one column for all actions": (
        lambda: target_policy(column(1, 1), column(1, 1), np.array([0, 0])),
        "target: an array of shape (2,), where (moments, actions) is needed",
    ),
    "another number of actions": (
        lambda: target_policy(HALVES, np.full((3, 3), 1 / 3), np.array([0, 1, 1])),
        "logging: an array of shape (3, 3), where target has (3, 2)",
    ),
    "an action that there is not": (
        lambda: target_policy(HALVES, HALVES, np.array([0, 2, 1])),
        "actions: row 1 has 2: target has 2 actions, numbered from 0",
    ),
    "logging above 1": (
        lambda: target_policy(HALVES, np.array([[0.5, 0.5], [0.5, 1.5], [1, 0]]), np.array([0, 0, 0])),
        "logging: row 1 has [0.5 1.5]: a probability lies between 0 and 1",
    ),
    "logged though impossible": (
        lambda: target_policy(HALVES, np.array([[0.5, 0.5], [1, 0], [1, 0]]), np.array([0, 0, 1])),
        "logging: row 2 has [1. 0.]: the logged action cannot have probability 0",
    ),
    "actions of fewer moments": (
        lambda: cross_fitted_rewards(logged(), np.array([0, 1]), np.array([0, 0, 0]), HALVES),
        "actions: 2 rows, where there are 3 moments",
    ),
    "contexts of fewer moments": (
        lambda: cross_fitted_rewards(logged(), np.array([0, 1, 1]), np.array([0, 0]), HALVES),
        "contexts: 2 rows, where there are 3 moments",
    ),
    "one user": (
        lambda: cross_fitted_rewards(logged(users=(7, 7, 7)), np.array([0, 1, 1]), np.array([0, 0, 0]), HALVES),
        "users: there is only one, and a reward model must learn from others than it predicts",
    ),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_unfit_columns_are_refused_by_name_and_row(unfit: str) -> None:
    make, told = UNFIT[unfit]
    with pytest.raises(UserError, match=re.escape(told)):
        make()


def test_a_target_policy_is_read_off_both_policies() -> None:
    asked = np.array([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
    logging = np.array([[0.5, 0.25, 0.25], [0, 1, 0], [NAN, NAN, NAN]])
    found = target_policy(asked, logging, np.array([2, 1, 0]))
    assert found.of_logged == pytest.approx([0.3, 0.5, 0.2])
    assert found.unsupported == pytest.approx([0.0, 0.5, 0.0])
