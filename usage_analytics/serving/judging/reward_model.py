"""What an action earns in a context, by plain means, never learnt from the user whom it is asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Floats, Ints
from usage_analytics.serving.judging.logged_moments import LoggedMoments, RewardPredictions, check_length, check_policy

FOLDS = 5
PRIOR_MOMENTS = 20.0  # so many moments of the overall mean are added to those of each context and action


def cross_fitted_rewards(moments: LoggedMoments, actions: Ints, contexts: Ints, target: Floats) -> RewardPredictions:
    """Predict each moment's reward from the moments of other users: means of context and action, shrunk to that of all.

    actions: (moments,) column in `target` of the logged action. contexts: (moments,) any numbers of groups. target:
    (moments, actions) the target policy. Users are dealt into folds, and a fold is predicted from the others
    (Chernozhukov and others, "Double/debiased machine learning", Econometrics Journal 2018). UserError names an unfit
    column and row, or says that there is only one user.
    """
    check_length("actions", actions, len(moments.rewards))
    check_length("contexts", contexts, len(moments.rewards))
    check_policy("target", target, actions)
    users, user = np.unique(moments.users, return_inverse=True)
    if len(users) < 2:
        raise UserError("users: there is only one, and a reward model must learn from others than it predicts")
    groups, group = np.unique(contexts, return_inverse=True)
    fold = user % FOLDS
    shape = (FOLDS, len(groups), target.shape[1])
    cell = np.ravel_multi_index((fold, group, actions), shape)
    cells = int(np.prod(shape))
    sums = _of_other_folds(np.bincount(cell, moments.rewards, cells).reshape(shape))
    counts = _of_other_folds(np.bincount(cell, minlength=cells).reshape(shape))
    overall = sums.sum(axis=(1, 2), keepdims=True) / counts.sum(axis=(1, 2), keepdims=True)
    expected = (sums + PRIOR_MOMENTS * overall) / (counts + PRIOR_MOMENTS)
    return RewardPredictions(expected[fold, group, actions], (expected[fold, group] * target).sum(axis=1))


def _of_other_folds(by_fold: npt.NDArray[Any]) -> Floats:
    return np.asarray(by_fold.sum(axis=0) - by_fold, np.float64)
