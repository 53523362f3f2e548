"""Ratios of sums over users: against leaving out users by hand, printed tables and an interval worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.judging.clustered_ratios import Jackknifed, interval, ratio_of_sums, t_quantile

USERS = 6
WHOLE = arrays(np.float64, USERS, elements=st.integers(-50, 50).map(float))
POSITIVE = arrays(np.float64, USERS, elements=st.integers(1, 50).map(float))


@given(WHOLE, POSITIVE)
def test_influence_is_what_leaving_out_a_user_takes_away(numerators: Floats, denominators: Floats) -> None:
    found = ratio_of_sums(numerators, denominators)
    assert found.value == pytest.approx(sum(numerators) / sum(denominators))
    for user in range(USERS):
        without = np.delete(numerators, user).sum() / np.delete(denominators, user).sum()
        assert found.influence[user] == pytest.approx((found.value - without) * (USERS - 1), abs=1e-9)


@given(WHOLE)
def test_users_of_one_size_give_the_textbook_error_of_a_mean(rewards: Floats) -> None:
    found = ratio_of_sums(rewards, np.ones(USERS))
    assert found.influence == pytest.approx(rewards - rewards.mean(), abs=1e-9)


def test_each_end_reckons_with_a_user_farther_out_than_any() -> None:
    low, high = interval(Jackknifed(10.0, np.array([-1.0, 0.0, 1.0])), 1e9, 0.95)
    error = np.std([-1.0, 0.0, 1.0, 2.5], ddof=1) / 2
    assert (low, high) == pytest.approx((9.375 - 1.959964 * error, 10.625 + 1.959964 * error))


def test_a_long_tail_moves_its_own_end_most() -> None:
    low, high = interval(Jackknifed(0.0, np.array([*[-1.0] * 30, 30.0])), 30.0, 0.95)
    assert high > -2 * low > 0.0


def test_fewer_degrees_of_freedom_and_more_confidence_widen() -> None:
    found = Jackknifed(0.0, np.linspace(-1.0, 1.0, 21))
    ends = [interval(found, degrees, confidence)[1] for degrees, confidence in ((90, 0.9), (90, 0.95), (9, 0.95))]
    assert ends == sorted(ends) and len(set(ends)) == 3


@pytest.mark.parametrize(
    ("probability", "degrees", "printed"),
    [(0.975, 4, 2.776), (0.975, 10, 2.228), (0.975, 30, 2.042), (0.95, 20, 1.725), (0.9995, 30, 3.646)],
)
def test_quantiles_are_those_of_printed_tables(probability: float, degrees: float, printed: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(printed, rel=1e-3)
    assert t_quantile(1.0 - probability, degrees) == pytest.approx(-printed, rel=1e-3)
