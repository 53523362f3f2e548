"""Counterfactual estimates: what must not change them, what must, and when they abstain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from usage_analytics.serving.arrays import Floats, Ints
from usage_analytics.serving.judging.clustered_ratios import Jackknifed, interval
from usage_analytics.serving.judging.logged_moments import LoggedMoments, TargetPolicy, target_policy
from usage_analytics.serving.judging.off_policy import (
    Estimate,
    LeftOut,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)
from usage_analytics.serving.judging.reward_model import cross_fitted_rewards
from usage_analytics.simulation.logged_preloads import LoggedPreloads, PreloadWorld

WORLD = PreloadWorld(exploration=0.8, moments_per_user=8.0)
SEEDS = st.integers(0, 2**32)
NOTHING = LeftOut(0, 0, 0.0)
few = settings(max_examples=25)
Estimator = Callable[[LoggedMoments, TargetPolicy], Estimate]


def drawn(seed: int, users: int = 80) -> LoggedPreloads:
    return WORLD.draw(users, seed)


def better(log: LoggedPreloads) -> TargetPolicy:
    return target_policy(WORLD.better_policy[log.contexts], WORLD.logging_policy[log.contexts], log.actions)


def all_three(log: LoggedPreloads) -> list[Estimate]:
    target = better(log)
    learnt = cross_fitted_rewards(log.moments, log.actions, log.contexts, WORLD.better_policy[log.contexts])
    return [
        inverse_propensity(log.moments, target),
        self_normalised(log.moments, target),
        doubly_robust(log.moments, target, learnt),
    ]


def rewarded(log: LoggedPreloads, rewards: Floats) -> LoggedPreloads:
    return replace(log, moments=replace(log.moments, rewards=rewards))


def picked(log: LoggedPreloads, rows: Ints) -> LoggedPreloads:
    moments = log.moments
    chosen = LoggedMoments(moments.users[rows], moments.propensities[rows], moments.rewards[rows])
    return LoggedPreloads(chosen, log.contexts[rows], log.actions[rows])


def merged(first: LoggedPreloads, second: LoggedPreloads) -> LoggedPreloads:
    """Of users that have nothing in common."""
    users = second.moments.users + first.moments.users.max() + 1
    moments = LoggedMoments(
        np.append(first.moments.users, users),
        np.append(first.moments.propensities, second.moments.propensities),
        np.append(first.moments.rewards, second.moments.rewards),
    )
    return LoggedPreloads(moments, np.append(first.contexts, second.contexts), np.append(first.actions, second.actions))


def ends(estimate: Estimate) -> tuple[float, float, float]:
    """Value, low and high; a log drawn by chance may be one of which nothing can be said."""
    assume(not estimate.abstains)
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    return estimate.value, estimate.low, estimate.high


@few
@given(SEEDS)
def test_the_logging_policy_itself_earned_the_plain_mean(seed: int) -> None:
    moments = drawn(seed).moments
    same = TargetPolicy(moments.propensities, np.zeros(len(moments.rewards)))
    for estimate in (inverse_propensity(moments, same), self_normalised(moments, same)):
        value, low, high = ends(estimate)
        assert low < value == pytest.approx(moments.rewards.mean()) and value < high
        assert estimate.effective_moments == pytest.approx(len(moments.rewards))
        assert (estimate.moments, estimate.left_out) == (len(moments.rewards), NOTHING)


def test_the_interval_is_that_of_95_percent_over_users() -> None:
    rewards = np.random.default_rng(7).exponential(100.0, 150)
    moments = LoggedMoments(np.arange(150), np.full(150, 0.3), rewards)
    same = TargetPolicy(moments.propensities, np.zeros(150))
    expected = interval(Jackknifed(rewards.mean(), rewards - rewards.mean()), 149.0, 0.95)
    for estimate in (inverse_propensity(moments, same), self_normalised(moments, same)):
        assert ends(estimate)[1:] == pytest.approx(expected)


@few
@given(SEEDS, st.floats(0.01, 100.0), st.floats(-1e4, 1e4))
def test_scaled_and_shifted_rewards_scale_and_shift_the_estimate(seed: int, scale: float, shift: float) -> None:
    log = drawn(seed)
    _, *plain = all_three(log)
    _, *moved = all_three(rewarded(log, scale * log.moments.rewards + shift))
    for before, after in zip(plain, moved, strict=True):
        expected = [scale * end + shift for end in ends(before)]
        assert ends(after) == pytest.approx(expected, rel=1e-6, abs=1e-6 * (scale * 1e3 + abs(shift)))


@few
@given(SEEDS)
def test_losses_instead_of_gains_turn_the_interval_round(seed: int) -> None:
    log = drawn(seed)
    for gains, losses in zip(all_three(log), all_three(rewarded(log, -log.moments.rewards)), strict=True):
        value, low, high = ends(gains)
        assert ends(losses) == pytest.approx((-value, -high, -low))


@few
@given(SEEDS)
def test_the_order_of_moments_does_not_matter(seed: int) -> None:
    log = drawn(seed)
    shuffled = picked(log, np.random.default_rng(seed).permutation(len(log.actions)))
    for before, after in zip(all_three(log), all_three(shuffled), strict=True):
        assert ends(after) == pytest.approx(ends(before))
        assert after.effective_users == pytest.approx(before.effective_users)


@few
@given(SEEDS, SEEDS, st.integers(60, 120))
def test_merged_logs_give_the_weighted_mean_of_both(seed: int, other: int, users: int) -> None:
    first, second = drawn(seed), drawn(other, users)
    both = merged(first, second)
    weights = [(better(log).of_logged / log.moments.propensities).sum() for log in (first, second)]
    moments = [len(log.actions) for log in (first, second)]
    for estimator, shares in ((self_normalised, weights), (inverse_propensity, moments)):
        values = [ends(estimator(log.moments, better(log)))[0] for log in (first, second)]
        assert ends(estimator(both.moments, better(both)))[0] == pytest.approx(np.average(values, weights=shares))
    again = merged(second, first)
    assert ends(self_normalised(again.moments, better(again))) == pytest.approx(
        ends(self_normalised(both.moments, better(both)))
    )


@few
@given(SEEDS)
def test_more_of_the_same_users_tell_nothing_new_and_new_users_do(seed: int) -> None:
    log = drawn(seed)
    rows = np.arange(len(log.actions))
    twice, copied = picked(log, np.append(rows, rows)), merged(log, log)
    for estimator in (inverse_propensity, self_normalised):
        value, low, high = ends(estimator(log.moments, better(log)))
        assert ends(estimator(twice.moments, better(twice))) == pytest.approx((value, low, high))
        of_copied, narrow_low, narrow_high = ends(estimator(copied.moments, better(copied)))
        assert of_copied == pytest.approx(value)
        assert 1.3 < (high - low) / (narrow_high - narrow_low) < 2.2


@few
@given(SEEDS)
def test_names_of_users_do_not_matter(seed: int) -> None:
    log = drawn(seed)
    for names in (log.moments.users.astype(str), log.moments.users.astype(str).astype(object), -log.moments.users):
        named = self_normalised(replace(log.moments, users=names), better(log))
        assert ends(named) == pytest.approx(ends(self_normalised(log.moments, better(log))))


@few
@given(SEEDS)
def test_few_moments_that_cannot_tell_are_left_out_and_counted(seed: int) -> None:
    log = drawn(seed, users=200)
    target, logged = better(log), len(log.actions)
    propensities, unsupported = log.moments.propensities.copy(), target.unsupported.copy()
    propensities[:4] = np.nan
    unsupported[4:6] = 0.25
    of_logged = np.where(unsupported > 0.0, 0.5 * target.of_logged, target.of_logged)
    partly = self_normalised(replace(log.moments, propensities=propensities), TargetPolicy(of_logged, unsupported))
    rest = picked(log, np.arange(6, logged))
    assert ends(partly) == pytest.approx(ends(self_normalised(rest.moments, better(rest))))
    assert partly.left_out == LeftOut(4, 2, pytest.approx(4.5 / logged))
    assert partly.moments == logged - 6


def refused(estimate: Estimate) -> str:
    """Why there is no estimate, in one reason."""
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    [reason] = estimate.abstains
    return reason


def test_abstains_where_propensities_are_missing() -> None:
    log = drawn(1)
    logged = len(log.actions)
    propensities = np.where(np.arange(logged) < 13, np.nan, log.moments.propensities)
    for estimate in all_three(replace(log, moments=replace(log.moments, propensities=propensities))):
        told = f"{13 / logged:.1%} of what the target policy would do is not covered: of {logged} moments 13 have no"
        assert refused(estimate).startswith(told)


def test_abstains_where_no_propensity_was_written_down() -> None:
    log = drawn(1)
    nothing = replace(log.moments, propensities=np.full(len(log.actions), np.nan))
    estimate = self_normalised(nothing, better(log))
    assert estimate.value is None and (estimate.moments, estimate.users) == (0, 0)
    assert estimate.abstains[0].startswith("100.0% of what the target policy would do is not covered")


def test_abstains_where_the_target_policy_does_what_the_logging_policy_could_not() -> None:
    log = drawn(2)
    logging, asked = WORLD.logging_policy, np.full(WORLD.logging_policy.shape, 0.25)
    logging[0] = np.eye(4)[log.actions[np.flatnonzero(log.contexts == 0)[0]]]
    possible = np.flatnonzero(logging[log.contexts, log.actions] > 0.0)
    kept = picked(log, possible)
    moments = replace(kept.moments, propensities=logging[kept.contexts, kept.actions])
    estimate = self_normalised(moments, target_policy(asked[kept.contexts], logging[kept.contexts], kept.actions))
    impossible = int((kept.contexts == 0).sum())
    assert estimate.left_out == LeftOut(0, impossible, pytest.approx(0.75 * impossible / len(possible)))
    assert f"and in {impossible} it might take an action that the logging policy could not" in refused(estimate)


def test_abstains_where_the_effective_number_of_moments_is_small() -> None:
    log = drawn(3, users=30)
    reason = refused(self_normalised(log.moments, better(log)))
    assert reason.startswith(f"{len(log.actions)} moments tell as much as ") and "(at least 100 are needed)" in reason


def test_abstains_where_the_target_policy_never_did_what_was_logged() -> None:
    moments = drawn(4).moments
    never = TargetPolicy(np.zeros(len(moments.rewards)), np.zeros(len(moments.rewards)))
    estimate = self_normalised(moments, never)
    assert (estimate.value, estimate.effective_moments, estimate.effective_users) == (None, 0.0, 0.0)
    assert "tell as much as 0.0 would" in estimate.abstains[0]


def test_abstains_where_few_users_are_all() -> None:
    log = PreloadWorld(exploration=0.8, moments_per_user=100.0).draw(15, seed=5)
    reason = refused(self_normalised(log.moments, better(log)))
    assert reason.startswith("15 users tell as much as 1") and "(at least 20 are needed)" in reason


@pytest.mark.parametrize("estimator", [inverse_propensity, self_normalised])
def test_abstains_where_propensities_are_not_those_of_the_log(estimator: Estimator) -> None:
    log = drawn(6, users=300)
    wrong = replace(log.moments, propensities=np.full(len(log.actions), 0.25))
    reason = refused(estimator(wrong, better(log)))
    assert reason.startswith("the weights' mean is ") and "where it must be 1: the propensities are not those" in reason


def test_abstains_whatever_the_rewards() -> None:
    """A choice by rewards would keep the samples that missed the long waits, and their intervals miss the truth."""
    for seed in range(20):
        log = drawn(seed, users=35)
        plain = self_normalised(log.moments, better(log))
        wild = self_normalised(replace(log.moments, rewards=np.exp(log.moments.rewards / 100.0)), better(log))
        assert wild.abstains == plain.abstains
