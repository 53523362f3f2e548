"""Situations, with what came next in each, and what was at stake there."""

from __future__ import annotations

import numpy as np
import pytest

from usage_analytics.serving.decisions import moments as module
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.moments import NONE, KnownMoments, Moments, Transitions

APPS = ("charts", "chat", "quotes")


def test_parts_hold_the_same_situations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOMENTS_AT_ONCE", 2)
    whole = KnownMoments(
        np.full((3, 3), 1 / 3),
        Moments(np.array([2, 2, NONE]), np.ones(3)),
        Transitions(
            np.array([0, 1, 1, 2]), np.array([1, 0, NONE, 1]), np.array([2, 4, 1, 1]), np.array([0.5, 2e3, 5.0, 7.0])
        ),
    )
    first, second = whole.parts()
    assert (len(first.moments), len(second.moments)) == (2, 1)
    assert second.transitions.moment.tolist() == [0]
    economics = Economics(APPS, np.array([10.0, 20.0, 30.0]), np.ones(3), np.ones(3))
    parts = np.concatenate([part.stakes(economics).saved_ms for part in (first, second)])
    assert parts.tolist() == whole.stakes(economics).saved_ms.tolist()


def test_repeats_and_unknown_mini_apps_are_not_at_stake_and_time_that_passed_is_all_that_is_saved() -> None:
    seen = Transitions(np.array([0, 0, 0, 0]), np.array([0, 1, 2, NONE]), np.array([5, 2, 3, 7]), np.full(4, 25.0))
    economics = Economics(APPS, np.array([10.0, 20.0, 30.0]), np.ones(3), np.ones(3))
    stakes = KnownMoments(np.full((1, 3), 1 / 3), Moments(np.array([0]), np.ones(1)), seen).stakes(economics)
    assert stakes.transitions.tolist() == [17.0]
    assert stakes.opened.tolist() == [[0.0, 2.0, 3.0]]
    assert stakes.waiting_ms.tolist() == [[0.0, 40.0, 90.0]]
    assert stakes.saved_ms.tolist() == [[0.0, 40.0, 75.0]]


def test_malformed_counts_are_refused() -> None:
    one = np.ones(2, np.int64)
    with pytest.raises(ValueError, match="order of their moments"):
        Transitions(np.array([1, 0]), one, one, np.ones(2))
    with pytest.raises(ValueError, match="dwell time is negative or not a number"):
        Transitions(one, one, one, np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="count of transitions is negative"):
        Transitions(one, one, -one, np.ones(2))
