"""How far what predictions promise lies from what came true: the expected calibration error of Guo et al. 2017."""

import numpy as np

from usage_analytics.models.branching.arrays import Flags, Floats, Ints

BINS = 15  # of equal width


def calibration_gaps(confidences: Floats, hits: Flags, weights: Ints | None = None) -> Floats:
    """By bin of confidence, the hits that were promised less those that came: (BINS,). Gaps of batches add up.

    confidences, from 0 to 1, and hits: (predictions,); weights: how often each was made, once by default.
    """
    bins = np.minimum((confidences * BINS).astype(np.int64), BINS - 1)
    missing = confidences - hits
    return np.asarray(np.bincount(bins, missing if weights is None else missing * weights, BINS), np.float64)


def calibration_error(gaps: Floats, predictions: int) -> float:
    """The mean gap, from 0 to 1."""
    return float(np.abs(gaps).sum()) / predictions
