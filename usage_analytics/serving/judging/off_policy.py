"""What another preload policy would have earned, from a log of choices made by chance, or why that cannot be said.

The moments of a user are alike, so users are what is counted as independent. What the log cannot tell is left out and
counted, never guessed; too much of it, and there is no estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from usage_analytics.serving.arrays import Flags, Floats, Ints
from usage_analytics.serving.judging.clustered_ratios import Jackknifed, interval, ratio_of_sums
from usage_analytics.serving.judging.logged_moments import (
    ROUNDING,
    LoggedMoments,
    RewardPredictions,
    TargetPolicy,
    check_length,
)

CONFIDENCE = 0.95
FEWEST_EFFECTIVE_MOMENTS = 100.0
FEWEST_EFFECTIVE_USERS = 20.0
LARGEST_SHARE_LEFT_OUT = 0.01
_CERTAINTY_OF_A_WRONG_LOG = 0.999  # so sure before a log is called wrong that a right one hardly ever is


@dataclass(frozen=True)
class LeftOut:
    """Moments that cannot tell about the target policy."""

    without_propensity: int
    unsupported: int  # where the target policy might take what the logging policy could not
    uncovered_share: float  # of the target policy's probability over all moments, 0 to 1


@dataclass(frozen=True)
class Estimate:
    """Milliseconds per moment that the target policy earns; value, low and high are None where it `abstains`.

    Effective numbers are Kish's, (sum of weights)^2 / sum of weights^2: so many moments, or users, of equal weight
    would tell as much. Moments and users count what was evaluated.
    """

    estimator: str
    value: float | None
    low: float | None  # of the 95 % interval
    high: float | None
    moments: int
    users: int
    effective_moments: float
    effective_users: float
    left_out: LeftOut
    abstains: tuple[str, ...]  # why; empty where there is an estimate


@dataclass(frozen=True)
class _Evaluable:
    """The moments that can tell, with the target's probability over the propensity of each."""

    kept: Flags  # (logged moments,)
    user: Ints  # (moments,) 0-based
    users: int
    rewards: Floats  # (moments,)
    weights: Floats  # (moments,)
    left_out: LeftOut

    def ratio(self, numerators: Floats, denominators: Floats) -> Jackknifed:
        """Sum of numerators (moments,) over sum of denominators (moments,)."""
        return ratio_of_sums(self.by_user(numerators), self.by_user(denominators))

    def by_user(self, values: Floats) -> Floats:
        """Sums (users,) of values (moments,)."""
        return np.asarray(np.bincount(self.user, values, self.users), np.float64)


def inverse_propensity(moments: LoggedMoments, target: TargetPolicy) -> Estimate:
    """IPS: weighted rewards over moments (Horvitz and Thompson, JASA 1952). UserError on columns of unlike length."""
    log = _evaluable(moments, target)
    return _estimate("IPS", log, log.weights * log.rewards, np.ones(len(log.rewards)))


def self_normalised(moments: LoggedMoments, target: TargetPolicy) -> Estimate:
    """SNIPS: weighted rewards over weights. UserError on columns of unlike length.

    Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning" (NeurIPS 2015).
    """
    log = _evaluable(moments, target)
    return _estimate("SNIPS", log, log.weights * log.rewards, log.weights)


def doubly_robust(moments: LoggedMoments, target: TargetPolicy, predictions: RewardPredictions) -> Estimate:
    """DR: what a reward model expects, put right by the weighted errors of it. UserError on columns of unlike length.

    Dudik, Langford and Li, "Doubly robust policy evaluation and learning" (ICML 2011). `predictions` of a moment must
    not be learnt from its user: see reward_model.py.
    """
    check_length("predictions", predictions.of_logged, len(moments.rewards))
    log = _evaluable(moments, target)
    errors = log.rewards - predictions.of_logged[log.kept]
    earned = predictions.under_target[log.kept] + log.weights * errors
    return _estimate("DR", log, earned, np.ones(len(log.rewards)))


def _evaluable(moments: LoggedMoments, target: TargetPolicy) -> _Evaluable:
    check_length("target", target.of_logged, len(moments.rewards))
    without = np.isnan(moments.propensities)
    unsupported = ~without & (target.unsupported > ROUNDING)
    uncovered = np.where(without, 1.0, target.unsupported).mean()
    kept = ~without & ~unsupported
    users, user = np.unique(moments.users[kept], return_inverse=True)
    return _Evaluable(
        kept=kept,
        user=user,
        users=len(users),
        rewards=moments.rewards[kept],
        weights=target.of_logged[kept] / moments.propensities[kept],
        left_out=LeftOut(int(without.sum()), int(unsupported.sum()), float(uncovered)),
    )


def _estimate(estimator: str, log: _Evaluable, numerators: Floats, denominators: Floats) -> Estimate:
    """The ratio of sums of numerators (moments,) and denominators (moments,)."""
    effective_moments, effective_users = _kish(log.weights), _kish(log.by_user(log.weights))
    reasons = _reasons(log, effective_moments, effective_users)
    value = low = high = None
    if not reasons:
        ratio = log.ratio(numerators, denominators)
        value = ratio.value
        low, high = interval(ratio, effective_users - 1.0, CONFIDENCE)
    return Estimate(
        estimator=estimator,
        value=value,
        low=low,
        high=high,
        moments=len(log.rewards),
        users=log.users,
        effective_moments=effective_moments,
        effective_users=effective_users,
        left_out=log.left_out,
        abstains=reasons,
    )


def _kish(weights: Floats) -> float:
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _reasons(log: _Evaluable, effective_moments: float, effective_users: float) -> tuple[str, ...]:
    """Why there is no estimate. None looks at rewards: a choice by them would leave the lucky samples."""
    left, logged = log.left_out, len(log.kept)
    reasons = []
    if left.without_propensity + left.unsupported > LARGEST_SHARE_LEFT_OUT * logged:
        reasons.append(
            f"{left.uncovered_share:.1%} of what the target policy would do is not covered: of {logged} moments "
            f"{left.without_propensity} have no propensity, and in {left.unsupported} it might take an action that the "
            f"logging policy could not (at most {LARGEST_SHARE_LEFT_OUT:.0%} of the moments may be left out)"
        )
    if effective_moments < FEWEST_EFFECTIVE_MOMENTS:
        reasons.append(
            f"{len(log.rewards)} moments tell as much as {effective_moments:.1f} would of the target policy's own "
            f"(at least {FEWEST_EFFECTIVE_MOMENTS:.0f} are needed): log more, or explore more"
        )
    if effective_users < FEWEST_EFFECTIVE_USERS:
        reasons.append(
            f"{log.users} users tell as much as {effective_users:.1f} of equal weight would "
            f"(at least {FEWEST_EFFECTIVE_USERS:.0f} are needed)"
        )
    return tuple(reasons) or _wrong_weights(log, effective_users)


def _wrong_weights(log: _Evaluable, effective_users: float) -> tuple[str, ...]:
    """Weights are 1 on average where propensities are true and the target policy does nothing else than was logged."""
    weight = log.ratio(log.weights, np.ones(len(log.weights)))
    low, high = interval(weight, effective_users - 1.0, _CERTAINTY_OF_A_WRONG_LOG)
    if low - ROUNDING <= 1.0 <= high + ROUNDING:
        return ()
    return (
        f"the weights' mean is {weight.value:.3f} (surely between {low:.3f} and {high:.3f}), where it must be 1: "
        "the propensities are not those by which actions were taken, or the target policy takes actions that the "
        "logging policy could not",
    )
