"""Whether a challenger replaces the counts: only if it predicts better and is worth more, beyond standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from usage_analytics.models.branching.gains import Gain, paired_gain
from usage_analytics.models.branching.scoring import Scores

COUNTS = "counts"


@dataclass(frozen=True)
class Choice:
    """The model to use, and why: evidence as plain values, for the metadata of an asset."""

    name: str
    evidence: dict[str, Any]


def choose_model(scores: Mapping[str, Scores]) -> Choice:
    """Keep COUNTS unless a challenger gains in log-loss and in net benefit, each by more than its standard error.

    scores: by name, all of the same held-out predictions, COUNTS among them. Where net benefits are not given by user,
    theirs must only be greater. Of several that win, the one of the greatest net benefit is chosen. ValueError where
    COUNTS is missing or the predictions differ.
    """
    if COUNTS not in scores:
        raise ValueError(f"there are no scores of {COUNTS!r}, which challengers are measured by: {sorted(scores)}")
    counts = scores[COUNTS]
    evidence = {name: figures_of(each) for name, each in scores.items()}
    winners = []
    for name in sorted(scores.keys() - {COUNTS}):
        verdict = _compare(name, scores[name], counts)
        evidence[name] |= verdict
        if verdict["beats_counts"]:
            winners.append(name)
    chosen = max(winners, key=lambda name: scores[name].net_benefit_ms or 0.0, default=COUNTS)
    return Choice(chosen, {"chosen": chosen, **evidence})


def figures_of(scores: Scores) -> dict[str, Any]:
    """What is told of a model by itself."""
    return {
        "predictions": scores.predictions,
        "unknown_predictions": scores.unknown_predictions,
        "users": len(scores.by_user.users),
        "recall_at_1": scores.recall_at_1,
        "recall_at_3": scores.recall_at_3,
        "log_loss": scores.log_loss,
        "calibration_error": scores.calibration_error,
        "net_benefit_ms": scores.net_benefit_ms,
    }


def _compare(name: str, challenger: Scores, counts: Scores) -> dict[str, Any]:
    ours, theirs = challenger.by_user, counts.by_user
    if ours.users != theirs.users or not np.array_equal(ours.predictions, theirs.predictions):
        raise ValueError(f"{name} was scored on other predictions than {COUNTS}: they cannot be compared")
    losses = paired_gain(-ours.log_loss, -theirs.log_loss, ours.predictions)
    benefits = _benefits(challenger, counts)
    reasons = []
    if not losses.exceeds_error:
        reasons.append("its log-loss is not better by more than its standard error")
    if benefits is None:
        reasons.append("its net benefit, or that of the counts, is not known")
    elif not benefits.exceeds_error:
        reasons.append("its net benefit is not greater by more than its standard error")
    return {
        "beats_counts": not reasons,
        "why_not": "; ".join(reasons),
        "log_loss_gain": losses.mean,
        "log_loss_gain_standard_error": losses.standard_error,
        "net_benefit_gain_ms": benefits.mean if benefits else None,
        "net_benefit_gain_standard_error_ms": benefits.standard_error if benefits else None,
    }


def _benefits(challenger: Scores, counts: Scores) -> Gain | None:
    if challenger.net_benefit_ms is None or counts.net_benefit_ms is None:
        return None
    ours, theirs = challenger.by_user, counts.by_user
    if ours.net_benefit_ms is None or theirs.net_benefit_ms is None:
        return Gain(challenger.net_benefit_ms - counts.net_benefit_ms, 0.0)
    return paired_gain(ours.net_benefit_ms, theirs.net_benefit_ms, ours.predictions)
