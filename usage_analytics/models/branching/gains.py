"""Whether one model is better than another by more than its standard error, on the same predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints


@dataclass(frozen=True)
class Gain:
    """How much better than another model, per prediction, and how far chance alone would move that."""

    mean: float
    standard_error: float | None  # none: a single user tells nothing of it

    @property
    def exceeds_error(self) -> bool:
        """More than its standard error above nothing."""
        return self.standard_error is not None and self.mean > self.standard_error


def paired_gain(model: Floats, other: Floats, predictions: Ints) -> Gain:
    """Mean difference per prediction of two models' sums by user (users,), and its standard error over users.

    Users are what was drawn, so the error is that of a ratio of sums over them (Cochran, Sampling Techniques, 1977,
    section 2.11).
    """
    differences, total, users = model - other, predictions.sum(), len(predictions)
    mean = float(differences.sum() / total)
    if users < 2:
        return Gain(mean, None)
    spread = ((differences - mean * predictions) ** 2).sum() * users / (users - 1)
    return Gain(mean, float(np.sqrt(spread) / total))
