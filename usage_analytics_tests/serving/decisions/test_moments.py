"""Held-out counts become situations, with what came next in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from usage_analytics.serving.decisions import moments as module
from usage_analytics.serving.decisions.economics import Economics, Floats
from usage_analytics.serving.decisions.moments import NONE, Context, KnownMoments, Moments, Transitions, read_held_out

APPS = ("charts", "chat", "quotes")


@dataclass(frozen=True)
class Told:
    """A model whose probabilities tell by which contexts it was asked."""

    asked: list[Context]
    mini_apps: tuple[str, ...] = APPS

    def probabilities(self, contexts: Sequence[Context]) -> Floats:
        self.asked.extend(contexts)
        return np.full((len(contexts), len(APPS)), 1 / 3)


COUNTS = pl.DataFrame(
    [
        (1, "chat", "quotes", "charts", 3, 6_000_000),
        (2, "chat", "quotes", "charts", 1, 2_000_000),
        (1, "chat", "quotes", "gone", 1, 5_000),
        (1, None, "quotes", "chat", 2, 1_000),
        (1, None, None, "quotes", 9, 0),
        (1, "quotes", "gone", "chat", 1, 7_000),
        (1, "quotes", "charts", "chat", 0, 0),
    ],
    schema=["fold", "prev2", "prev1", "next", "transitions", "dwell_us"],
    orient="row",
)


def test_counts_become_situations_and_what_came_next() -> None:
    model = Told([])
    found = read_held_out(COUNTS, model)
    assert model.asked == [(None, "quotes"), ("chat", "quotes"), ("quotes", "gone")]
    assert found.moments.current.tolist() == [2, 2, NONE]
    assert found.moments.price.tolist() == [1.0, 1.0, 1.0]
    seen = found.transitions
    assert seen.moment.tolist() == [0, 1, 1, 2]
    assert seen.next.tolist() == [1, 0, NONE, 1]
    assert seen.transitions.tolist() == [2, 4, 1, 1]
    assert seen.dwell_ms.tolist() == [0.5, 2000.0, 5.0, 7.0]


def test_parts_hold_the_same_situations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOMENTS_AT_ONCE", 2)
    whole = read_held_out(COUNTS, Told([]))
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
    with pytest.raises(ValueError, match=r"lack the columns \['dwell_us'\]"):
        read_held_out(COUNTS.drop("dwell_us"), Told([]))
    with pytest.raises(ValueError, match="no transition after a first action"):
        read_held_out(COUNTS.filter(pl.col("prev1").is_null()), Told([]))
    one = np.ones(2, np.int64)
    with pytest.raises(ValueError, match="order of their moments"):
        Transitions(np.array([1, 0]), one, one, np.ones(2))
    with pytest.raises(ValueError, match="dwell time is negative or not a number"):
        Transitions(one, one, one, np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="count of transitions is negative"):
        Transitions(one, one, -one, np.ones(2))
