"""Shares become probabilities: a planted distortion is undone, and what data say nothing of stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.challengers.calibration import Calibration, calibrate
from usage_analytics.models.branching.counts.transition_counts import SESSION_START, UNKNOWN

APPS = 4
FREQUENCIES = np.array([0.4, 0.3, 0.2, 0.1])


def drawn(probabilities: Floats, seed: int) -> Ints:
    random = np.random.default_rng(seed)
    return (random.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(axis=1)


def situations(rows: int, seed: int) -> tuple[Floats, Ints]:
    """Shares, and contexts of two events."""
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(APPS, 0.7), rows), random.integers(1, APPS + 1, (rows, 2))


@pytest.mark.parametrize("planted", [(0.5, 0.0, 0.0), (1.8, -2.0, 0.5), (1.0, 1.0, -1.0)])
def test_planted_weights_are_found(planted: tuple[float, float, float]) -> None:
    shares, contexts = situations(10_000, 1)
    truth = Calibration(FREQUENCIES, np.full(4, 0.1), np.tile(planted, (4, 1)))
    actions = drawn(truth.probabilities(shares, contexts), 2)
    found = calibrate(shares, contexts, actions, FREQUENCIES)
    np.testing.assert_allclose(found.weights[1], planted, atol=0.12)
    others = situations(5_000, 3)
    np.testing.assert_allclose(found.probabilities(*others), truth.probabilities(*others), atol=0.05)


def test_a_mini_app_that_never_follows_itself_gets_next_to_nothing() -> None:
    shares, contexts = situations(5_000, 4)
    actions = drawn(shares, 5)
    changes = actions != contexts[:, 0] - 1
    found = calibrate(shares[changes], contexts[changes], actions[changes], FREQUENCIES)
    probabilities = found.probabilities(shares, contexts)
    assert probabilities[np.arange(5_000), contexts[:, 0] - 1].mean() < 0.005


def test_lengths_that_were_not_seen_keep_their_shares() -> None:
    shares, contexts = situations(500, 6)
    found = calibrate(shares, contexts, drawn(shares, 7), FREQUENCIES)
    alone = np.array([[2, SESSION_START]])
    share = np.array([[0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(found.probabilities(share, alone), (share + FREQUENCIES) / 2)
    assert calibrate(shares[:0], contexts[:0], np.empty(0, np.int64), FREQUENCIES).weights.tolist() == [[1, 0, 0]] * 4


@given(
    st.lists(st.lists(st.sampled_from([UNKNOWN, 1, 2, 3, 4]), min_size=1, max_size=3), min_size=1, max_size=20),
    st.integers(0, 99),
)
def test_probabilities_are_positive_and_sum_to_one(told: list[list[int]], seed: int) -> None:
    contexts = np.array([each + [SESSION_START] * (3 - len(each)) for each in told])
    shares, _ = situations(len(told), seed)
    shares[::3] = 0.0  # no neighbours
    found = calibrate(shares, contexts, drawn(shares, seed) % APPS, FREQUENCIES).probabilities(shares, contexts)
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
