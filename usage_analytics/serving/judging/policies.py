"""Ways to decide what to preload: by expected value, and the rules of others beside which it is judged.

The others know no cost. So that each keeps the budget, what one would preload is taken in its own order, and what no
longer fits is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import polars as pl

from usage_analytics.serving.arrays import Flags, Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget, choose_many
from usage_analytics.serving.decisions.moments import NONE, Moments

GUESS_JS_4G, GUESS_JS_3G = 0.15, 0.30
CHROMIUM_CONFIDENCE, CHROMIUM_HITS = 0.8, 3


class Policy(Protocol):
    """Decides what is preloaded at each moment, within a budget, and never the current mini-app."""

    @property
    def name(self) -> str: ...

    def preload(self, probabilities: Floats, moments: Moments) -> Flags:
        """From the probabilities of what comes next, (moments, mini_apps), whether each is preloaded."""
        ...


@dataclass(frozen=True)
class Nothing:
    """Preloads nothing."""

    name: str = "nothing"

    def preload(self, probabilities: Floats, moments: Moments) -> Flags:
        return np.zeros(probabilities.shape, np.bool_)


@dataclass(frozen=True)
class Top:
    """Always preloads so many mini-apps, the most probable ones."""

    items: int
    economics: Economics
    budget: Budget

    @property
    def name(self) -> str:
        return f"top {self.items}"

    def preload(self, probabilities: Floats, moments: Moments) -> Flags:
        able = moments.without_current(probabilities)
        ranks = np.argsort(np.argsort(-able, axis=1, kind="stable"), axis=1)
        return within_budget(able, ranks < self.items, self.economics, self.budget)


@dataclass(frozen=True)
class Threshold:
    """Preloads every mini-app from one probability on."""

    least: float
    economics: Economics
    budget: Budget
    name: str = "fixed threshold"

    def preload(self, probabilities: Floats, moments: Moments) -> Flags:
        able = moments.without_current(probabilities)
        return within_budget(able, able >= self.least, self.economics, self.budget)


@dataclass(frozen=True)
class PairRule:
    """Preloads by how often each mini-app followed the current one, without smoothing, as browsers' rules do.

    Guess.js takes shares from 0.15 on (4G) or 0.30 on (3G), Chromium's address bar confidences from 0.8 on that rest
    on 3 hits at least.
    """

    name: str
    pairs: Ints = field(repr=False)  # (mini_apps, mini_apps) transitions from row to column
    least_share: float
    least_hits: int
    economics: Economics
    budget: Budget

    def preload(self, probabilities: Floats, moments: Moments) -> Flags:
        hits = _hits(self.pairs, moments)
        shares = moments.without_current(pair_shares(self.pairs, moments))
        wanted = (shares >= self.least_share) & (hits >= self.least_hits)
        return within_budget(shares, wanted, self.economics, self.budget)


@dataclass(frozen=True)
class ExpectedValue:
    """Preloads what is worth most: see `expected_value.choose_many`."""

    economics: Economics
    budget: Budget
    name: str = "expected value"

    def preload(self, probabilities: Floats, moments: Moments) -> Flags:
        able = moments.without_current(probabilities)
        return choose_many(able, self.economics, self.budget, moments.price)


def baselines(pairs: Ints, economics: Economics, budget: Budget) -> tuple[Policy, ...]:
    """The rules of others; ``pairs`` as `pair_counts` gives them, from the days that the model learned from."""
    return (
        Nothing(),
        Top(1, economics, budget),
        Top(3, economics, budget),
        PairRule("Guess.js on 4G", pairs, GUESS_JS_4G, 1, economics, budget),
        PairRule("Guess.js on 3G", pairs, GUESS_JS_3G, 1, economics, budget),
        PairRule("Chromium", pairs, CHROMIUM_CONFIDENCE, CHROMIUM_HITS, economics, budget),
    )


def pair_counts(counts: pl.DataFrame, mini_apps: tuple[str, ...]) -> Ints:
    """How often each mini-app (column) followed each (row), from rows of ``app_transitions``."""
    position = {name: place for place, name in enumerate(mini_apps)}
    pairs = np.zeros((len(mini_apps), len(mini_apps)), np.int64)
    for before, after, transitions in counts.select("prev1", "next", "transitions").iter_rows():
        if before in position and after in position:
            pairs[position[before], position[after]] += transitions
    return pairs


def pair_shares(pairs: Ints, moments: Moments) -> Floats:
    """How often each mini-app came next, of all that followed the open one: (moments, mini_apps)."""
    hits = _hits(pairs, moments)
    return np.asarray(hits / np.maximum(hits.sum(axis=1, keepdims=True), 1), np.float64)


def _hits(pairs: Ints, moments: Moments) -> Ints:
    known = (moments.current != NONE)[:, None]
    return np.where(known, pairs[moments.current], 0)


def within_budget(scores: Floats, wanted: Flags, economics: Economics, budget: Budget) -> Flags:
    """Of what is wanted, (moments, mini_apps), the highest scores that the budget allows; nothing of score 0.

    What does not fit is passed over. So what is kept of a higher threshold is what is kept of a lower one, cut there.
    """
    wanted = wanted & (scores > 0)
    sizes = np.ceil(economics.payload_bytes)
    order = np.argsort(np.where(wanted, -scores, 1.0), axis=1, kind="stable")
    kept = np.zeros(wanted.shape, np.bool_)
    rows = np.arange(len(scores))
    calls, room = np.zeros(len(scores), np.int64), np.full(len(scores), budget.bytes, np.float64)
    for rank in range(int(wanted.sum(axis=1).max(initial=0))):
        item = order[:, rank]
        takes = wanted[rows, item] & (calls < budget.calls) & (sizes[item] <= room)
        kept[rows[takes], item[takes]] = True
        calls += takes
        room -= np.where(takes, sizes[item], 0.0)
    return kept
