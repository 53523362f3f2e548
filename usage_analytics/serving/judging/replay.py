"""What a policy would have brought on held-out days: what users needed does not depend on what is preloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

import numpy as np
import polars as pl

from usage_analytics.serving.arrays import Flags, Floats
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.moments import NONE, KnownMoments, Moments
from usage_analytics.serving.judging.policies import Policy, Threshold, within_budget

COMPARED = (
    "net_ms_per_transition",
    "saved_ms",
    "cost_ms",
    "waiting_removed",
    "precision",
    "recall",
    "wasted_bytes_per_useful_byte",
    "calls",
    "transitions",
)


@dataclass(frozen=True)
class Outcome:
    """Sums over held-out transitions; those of parts add up. A share of nothing is not a number."""

    transitions: float = 0.0
    opened: float = 0.0  # transitions to another mini-app: what a preload could have served
    calls: float = 0.0  # preloads
    hits: float = 0.0  # preloads whose mini-app was opened next
    waiting_ms: float = 0.0  # what users waited without preloads
    saved_ms: float = 0.0
    cost_ms: float = 0.0
    payload_bytes: float = 0.0  # of all preloads
    useful_bytes: float = 0.0  # of the hits

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    @property
    def net_ms_per_transition(self) -> float:
        """Waiting saved, less what the preloads cost."""
        return _ratio(self.saved_ms - self.cost_ms, self.transitions)

    @property
    def waiting_removed(self) -> float:
        """Share of all waiting that was saved."""
        return _ratio(self.saved_ms, self.waiting_ms)

    @property
    def precision(self) -> float:
        """Share of the preloads that were used."""
        return _ratio(self.hits, self.calls)

    @property
    def recall(self) -> float:
        """Share of the openings that had been preloaded."""
        return _ratio(self.hits, self.opened)

    @property
    def wasted_bytes_per_useful_byte(self) -> float:
        """Infinite where nothing that was preloaded was used."""
        wasted = self.payload_bytes - self.useful_bytes
        return np.inf if wasted > 0 and not self.useful_bytes else _ratio(wasted, self.useful_bytes)


def replay(policy: Policy, held_out: KnownMoments, economics: Economics, budget: Budget) -> Outcome:
    """Ask the policy once per moment, and settle what it preloads with what came next.

    A preload costs the moment's price times its cost_ms each time that the moment was met. ValueError when a policy
    breaks the budget or preloads what is open.
    """
    outcome = Outcome()
    for part in held_out.parts():
        outcome += settle(_preloaded(policy, part, economics, budget), part, economics)
    return outcome


def net_benefits(policy: Policy, held_out: KnownMoments, economics: Economics, budget: Budget) -> Floats:
    """As `replay`, moment by moment: what was saved less what it cost, in milliseconds (moments,)."""
    found = [np.empty(0)]
    for part in held_out.parts():
        preloaded = _preloaded(policy, part, economics, budget)
        stakes = part.stakes(economics)
        cost_ms = part.moments.price * stakes.transitions * (preloaded @ economics.cost_ms)
        found.append((preloaded * stakes.saved_ms).sum(axis=1) - cost_ms)
    return np.concatenate(found)


def compare(policies: Iterable[Policy], held_out: KnownMoments, economics: Economics, budget: Budget) -> pl.DataFrame:
    """As `compared`, by replaying each policy."""
    return compared({policy.name: replay(policy, held_out, economics, budget) for policy in policies})


def compared(outcomes: Mapping[str, Outcome]) -> pl.DataFrame:
    """One row per policy, that of the largest net benefit first: the figures of `Outcome`; null for what is none."""
    rows = [
        {"policy": policy, **{name: getattr(outcome, name) for name in COMPARED}}
        for policy, outcome in outcomes.items()
    ]
    return pl.DataFrame(rows).fill_nan(None).sort(COMPARED[0], descending=True, maintain_order=True)


def best_threshold(held_out: KnownMoments, economics: Economics, budget: Budget) -> Threshold:
    """The fixed threshold of the largest net benefit on these very days: no honest one can do better.

    What the budget keeps of a higher threshold is what it keeps of 0, cut there; so sums in the order of probability
    tell the benefit of every threshold. Infinite where it is best to preload nothing.
    """
    levels, gains = [np.array([np.inf])], [np.zeros(1)]
    for part in held_out.parts():
        able = part.moments.without_current(part.probabilities)
        kept = within_budget(able, able > 0, economics, budget)
        stakes = part.stakes(economics)
        gain = stakes.saved_ms - (stakes.transitions * part.moments.price)[:, None] * economics.cost_ms
        levels.append(able[kept])
        gains.append(gain[kept])
    level, gain = np.concatenate(levels), np.concatenate(gains)
    order = np.argsort(-level, kind="stable")
    level, total = level[order], np.cumsum(gain[order])
    total[:-1][level[1:] == level[:-1]] = -np.inf  # only the last of equal probabilities has all of them in its sum
    return Threshold(float(level[total.argmax()]), economics, budget)


def _preloaded(policy: Policy, held_out: KnownMoments, economics: Economics, budget: Budget) -> Flags:
    preloaded = policy.preload(held_out.probabilities, held_out.moments)
    _check(policy, preloaded, held_out.moments, economics, budget)
    return preloaded


def settle(preloaded: Flags, held_out: KnownMoments, economics: Economics) -> Outcome:
    """What preloads (moments, mini_apps) come to by what came next."""
    stakes = held_out.stakes(economics)
    calls = preloaded * stakes.transitions[:, None]
    hits = preloaded * stakes.opened
    return Outcome(
        transitions=float(stakes.transitions.sum()),
        opened=float(stakes.opened.sum()),
        calls=float(calls.sum()),
        hits=float(hits.sum()),
        waiting_ms=float(stakes.waiting_ms.sum()),
        saved_ms=float((preloaded * stakes.saved_ms).sum()),
        cost_ms=float(held_out.moments.price @ (calls @ economics.cost_ms)),
        payload_bytes=float((calls @ economics.payload_bytes).sum()),
        useful_bytes=float((hits @ economics.payload_bytes).sum()),
    )


def _check(policy: Policy, preloaded: Flags, moments: Moments, economics: Economics, budget: Budget) -> None:
    most = int(preloaded.sum(axis=1).max(initial=0))
    if most > budget.calls:
        raise ValueError(f"the policy {policy.name!r} preloads {most} mini-apps at once; the budget is {budget.calls}")
    size = float((preloaded @ economics.payload_bytes).max(initial=0.0))
    if size > budget.bytes:
        raise ValueError(
            f"the policy {policy.name!r} preloads {size:.0f} bytes at once; the budget is {budget.bytes:.0f}"
        )
    open_ = np.flatnonzero(moments.current != NONE)
    if preloaded[open_, moments.current[open_]].any():
        raise ValueError(f"the policy {policy.name!r} preloads the mini-app that is open")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan
