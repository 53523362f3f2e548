"""Draws have their distributions, and depend on nothing but what they are for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.simulation import randomness

SOURCE = randomness.stream(7, "tests")
MANY = np.arange(200_000)


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=50), st.randoms())
def test_a_draw_depends_on_its_counters_alone(counters: list[int], chance: object) -> None:
    together = randomness.bits(SOURCE, 3, np.array(counters))
    alone = [int(randomness.bits(SOURCE, 3, counter)) for counter in counters]
    assert together.tolist() == alone


def test_draws_of_different_purposes_seeds_and_counters_differ() -> None:
    draws = [
        randomness.bits(randomness.stream(7, "tests"), MANY),
        randomness.bits(randomness.stream(8, "tests"), MANY),
        randomness.bits(randomness.stream(7, "other"), MANY),
        randomness.bits(SOURCE, MANY, 300_000),
        randomness.bits(SOURCE, 300_000, MANY),
    ]
    assert len(np.unique(np.concatenate(draws))) == len(draws) * len(MANY)


def test_uniform_numbers_fill_the_interval_evenly() -> None:
    found = randomness.uniform(SOURCE, MANY)
    assert 0 <= found.min() < found.max() < 1
    counts = np.bincount((found * 100).astype(int), minlength=100)
    assert ((counts - 2_000) ** 2 / 2_000).sum() == pytest.approx(99, abs=5 * np.sqrt(2 * 99))
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.01


def test_normal_numbers_have_their_moments() -> None:
    found = randomness.normal(SOURCE, MANY)
    assert [np.mean(found**power) for power in (1, 2, 3, 4)] == pytest.approx([0, 1, 0, 3], abs=0.05)


def test_exponential_numbers_have_their_moments() -> None:
    found = randomness.exponential(SOURCE, MANY)
    assert (found.mean(), found.std()) == pytest.approx((1, 1), abs=0.02)


@pytest.mark.parametrize("mean", [0.0, 0.01, 0.7, 5.0, 30.0])
def test_poisson_counts_have_their_mean_and_variance(mean: float) -> None:
    found = randomness.poisson(np.full(len(MANY), mean), randomness.uniform(SOURCE, MANY))
    assert found.mean() == pytest.approx(mean, abs=0.02 + mean / 100)
    assert found.var() == pytest.approx(mean, abs=0.02 + mean / 50)


def test_choice_follows_the_distribution_and_stays_within_it() -> None:
    cumulative = np.cumsum([0.5, 0.0, 0.3, 0.2])
    found = randomness.choice(cumulative, randomness.uniform(SOURCE, MANY))
    assert np.bincount(found, minlength=4) / len(MANY) == pytest.approx([0.5, 0, 0.3, 0.2], abs=0.01)
    assert randomness.choice(cumulative, np.array([0.0, 1 - 2**-53])).tolist() == [0, 3]
