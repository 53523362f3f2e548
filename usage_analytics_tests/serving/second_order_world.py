"""A desktop whose users walk by a second-order Markov chain, and what preloading its mini-apps saves and costs."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from usage_analytics.serving.arrays import Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.moments import KnownMoments, Moments, Transitions

APPS = 46  # as many as the simulated traders walk between
MINI_APPS = tuple(f"app_{number:02d}" for number in range(APPS))
LATENCY_MS, COST_MS, PAYLOAD_BYTES = 260.0, 45.0, 180_000.0  # medians
LIKING_SPREAD, LEADING_SPREAD, SECOND_SPREAD, SIZE_SPREAD = 0.5, 1.1, 0.9, 0.25  # of logarithms
STEPS, WALKS = 40, 3_000
DWELL_S, DWELL_SPREAD = 14.0, 0.7
PRIOR = 20.0  # transitions that a shorter context counts as
COLUMNS = ("prev2", "prev1", "next")


@dataclass(frozen=True)
class World:
    """Rows of app_transitions, those seen and those held out, with what a model of the seen ones expects there."""

    seen: pl.DataFrame
    held_out: KnownMoments


def economics(spread: float, seed: int) -> Economics:
    """Latency and cost differ between mini-apps by a log-standard-deviation, exactly."""
    draws = np.random.default_rng(seed).normal(size=(3, APPS))
    draws = (draws - draws.mean(axis=1, keepdims=True)) / draws.std(axis=1, keepdims=True)
    saved, cost, size = np.exp(np.array([[spread], [spread], [SIZE_SPREAD if spread else 0.0]]) * draws)
    return Economics(MINI_APPS, LATENCY_MS * saved, COST_MS * cost, PAYLOAD_BYTES * size)


def world(seed: int) -> World:
    """Walks of users, half of them held out."""
    random = np.random.default_rng(seed)
    likes = random.lognormal(0, LIKING_SPREAD, APPS)
    leads = random.lognormal(0, LEADING_SPREAD, (APPS, APPS)) * random.lognormal(0, SECOND_SPREAD, (APPS, APPS, APPS))
    chance = likes * leads / (likes * leads).sum(axis=-1, keepdims=True)
    seen, kept = _walks(random, chance), _walks(random, chance)
    return World(_counts(random, seen), _moments(_counts(random, kept), _fitted(seen)))


def _walks(random: np.random.Generator, chance: Floats) -> Ints:
    walks = random.integers(0, APPS, (WALKS, STEPS))
    for step in range(2, STEPS):
        ladder = np.cumsum(chance[walks[:, step - 2], walks[:, step - 1]], axis=1)
        walks[:, step] = np.minimum((ladder < random.random((WALKS, 1))).sum(axis=1), APPS - 1)
    return walks


def _counts(random: np.random.Generator, walks: Ints) -> pl.DataFrame:
    names = np.array(MINI_APPS)
    triples = {name: names[walks[:, place : STEPS - 2 + place].ravel()] for place, name in enumerate(COLUMNS)}
    dwell_us = (DWELL_S * 1e6 * random.lognormal(0, DWELL_SPREAD, walks[:, 2:].size)).astype(np.int64)
    rows = pl.DataFrame({**triples, "dwell_us": dwell_us})
    return rows.group_by(COLUMNS, maintain_order=True).agg(pl.len().alias("transitions"), pl.col("dwell_us").sum())


def _moments(counts: pl.DataFrame, chance: Floats) -> KnownMoments:
    """Each distinct pair of mini-apps is a moment, at price 1."""
    rows = counts.sort(COLUMNS).with_columns(pl.struct("prev2", "prev1").rle_id().alias("moment"))
    before, last, following = (np.searchsorted(MINI_APPS, rows[name].to_numpy()) for name in COLUMNS)
    moment = rows["moment"].to_numpy().astype(np.int64)
    first = np.unique(moment, return_index=True)[1]
    dwell_ms = (rows["dwell_us"] / rows["transitions"] / 1e3).to_numpy()
    return KnownMoments(
        chance[before[first], last[first]],
        Moments(last[first], np.ones(len(first))),
        Transitions(moment, following, rows["transitions"].to_numpy().astype(np.int64), dwell_ms),
    )


def _fitted(walks: Ints) -> Floats:
    """Second-order shares of what was seen, smoothed by the first order: before last x last x next."""
    counts = np.zeros((APPS, APPS, APPS))
    np.add.at(counts, (walks[:, :-2], walks[:, 1:-1], walks[:, 2:]), 1)
    shorter = counts.sum(axis=0) + 0.5
    shorter /= shorter.sum(axis=-1, keepdims=True)
    return np.asarray((counts + PRIOR * shorter) / (counts.sum(axis=-1, keepdims=True) + PRIOR))
