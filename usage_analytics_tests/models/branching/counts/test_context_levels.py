"""The discounts and one order of the model, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from usage_analytics.models.branching.counts.context_levels import build_level, estimate_discounts


def test_discounts_follow_chen_and_goodman() -> None:
    counts = np.repeat(np.array([1, 2, 3, 4]), [100, 40, 20, 12])
    leak = 100 / 180
    assert estimate_discounts(counts) == pytest.approx(
        (1 - 2 * leak * 40 / 100, 2 - 3 * leak * 20 / 40, 3 - 4 * leak * 12 / 20)
    )


def test_dense_counts_have_fixed_discounts() -> None:
    assert estimate_discounts(np.array([1_000, 2_000])) == (0.5, 0.75, 1.0)
    assert estimate_discounts(np.empty(0, np.int64)) == (0.5, 0.75, 1.0)


def test_shares_of_a_context_sum_to_one_and_its_weight_is_what_discounting_leaves() -> None:
    keys, actions = np.array([3, 3, 1, 3]), np.array([0, 2, 1, 0])
    level = build_level(keys, actions, np.array([4, 5, 2, 1]), base=4, order=1)
    assert level.keys.tolist() == [1, 3]
    assert level.totals.tolist() == [2, 10]
    assert level.actions.tolist() == [1, 0, 2]
    # fixed discounts: 0.75 of a count of two, 1 of each count of five
    np.testing.assert_allclose(level.shares, [1, 4 / 8, 4 / 8])
    np.testing.assert_allclose(level.weights, [1.25 / 2, 8 / 10])
    assert level.shares_of(np.array([1, 0, 1, 0]), np.array([2, 1, 1, -1])).tolist() == [0.5, 1, 0, 0]
