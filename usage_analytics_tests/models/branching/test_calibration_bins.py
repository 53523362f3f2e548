"""What is promised is held against what came, among predictions that promise about as much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.calibration_bins import BINS, calibration_error, calibration_gaps

PREDICTIONS = st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(1, 9)), min_size=1, max_size=30)


def test_promises_are_kept_on_average_within_a_bin_and_not_across() -> None:
    half, sure = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    hit_once = np.array([True, False])
    assert calibration_error(calibration_gaps(half, hit_once), 2) == 0.0
    assert calibration_error(calibration_gaps(sure, hit_once), 2) == 0.0
    assert calibration_error(calibration_gaps(sure, ~hit_once), 2) == 1.0


@given(PREDICTIONS, st.integers(0, 30))
def test_weights_count_repeats_and_batches_add_up(predictions: list[tuple[float, bool, int]], cut: int) -> None:
    confidences, hits, weights = (np.array(each) for each in zip(*predictions, strict=True))
    gaps = calibration_gaps(confidences, hits, weights)
    assert gaps.shape == (BINS,)
    assert calibration_gaps(np.repeat(confidences, weights), np.repeat(hits, weights)) == pytest.approx(gaps)
    first, second = slice(None, cut), slice(cut, None)
    parts = [calibration_gaps(confidences[some], hits[some], weights[some]) for some in (first, second)]
    assert sum(parts) == pytest.approx(gaps)
    assert 0.0 <= calibration_error(gaps, int(weights.sum())) <= 1.0 + 1e-12
