"""A made-up preload plan of any size, for the benchmarks of look-ups."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import numpy as np
import numpy.typing as npt

from usage_analytics.serving.decisions import Budget
from usage_analytics.serving.plan_tables import DTYPES, STEPS, PlanFacts, PlanTables, context_keys_of


@dataclass(frozen=True)
class Size:
    """How much a plan holds; entries and factors are averages."""

    mini_apps: int = 60
    contexts: int = 30_000
    users: int = 200_000
    most_entries: int = 10
    factors: int = 8


def made_up_tables(size: Size, seed: int = 1) -> PlanTables:
    """A plan of random contexts: all of order 0 to 2 as far as they go, and then some of order 3."""
    draw = np.random.default_rng(seed)
    keys = _context_keys(size, draw)
    counts = draw.integers(size.most_entries // 2, size.most_entries + 1, len(keys))
    positions, probabilities = _entries(counts, size.mini_apps, draw)
    listed = np.minimum(draw.poisson(size.factors, size.users), size.mini_apps)
    shuffled = draw.permuted(np.tile(np.arange(size.mini_apps), (1_000, 1)), axis=1)
    factors = int(listed.sum())
    arrays: dict[str, npt.ArrayLike] = {
        "saved_ms": draw.lognormal(6, 1, size.mini_apps),
        "cost_ms": draw.lognormal(3, 1, size.mini_apps),
        "payload_bytes": draw.lognormal(13, 1, size.mini_apps),
        "context_keys": keys,
        "context_starts": np.append(0, np.cumsum(counts)),
        "transitions": draw.integers(10, 10**6, len(keys)),
        "entry_positions": positions,
        "entry_probabilities": probabilities,
        "revisit_factors": draw.lognormal(0, 0.5, (len(STEPS), size.mini_apps)),
        "user_keys": np.sort(draw.integers(0, 2**64, size.users, dtype=np.uint64)),
        "user_starts": np.append(0, np.cumsum(listed)),
        "user_positions": np.concatenate([shuffled[user % 1_000, :count] for user, count in enumerate(listed)] or [[]]),
        "user_factors": draw.lognormal(0, 1, factors),
        "user_other_factors": draw.lognormal(0, 0.2, size.users),
        "prices": np.ones(36),
    }
    facts = PlanFacts(
        date(2026, 11, 23), "made up", {}, Budget(3, 4e6), datetime(2026, 11, 23, 23, tzinfo=UTC), "America/New_York",
        time(8), 15,
    )  # fmt: skip
    names = tuple(f"mini_app_{number:05d}" for number in range(size.mini_apps))
    return PlanTables(facts, names, **{name: np.asarray(arrays[name]).astype(DTYPES[name]) for name in DTYPES})


def _context_keys(size: Size, draw: np.random.Generator) -> npt.NDArray[np.uint64]:
    found: list[npt.NDArray[np.uint64]] = []
    left = size.contexts
    for order in range(4):
        possible = size.mini_apps**order
        chosen = np.sort(draw.choice(possible, min(left, possible), replace=False))
        codes = chosen[:, None] // size.mini_apps ** np.arange(order) % size.mini_apps + 1
        found.append(np.sort(context_keys_of(codes, size.mini_apps)))
        left -= len(chosen)
    return np.concatenate(found)


def _entries(
    counts: npt.NDArray[np.int64], mini_apps: int, draw: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Positions and falling probabilities, 0.9 together, of contexts that list so many mini-apps."""
    owners = np.repeat(np.arange(len(counts)), counts)
    weights = draw.exponential(size=len(owners))
    weights = weights[np.lexsort((-weights, owners))]
    positions = np.concatenate([draw.permutation(mini_apps)[:count] for count in counts])
    return positions, weights / np.bincount(owners, weights)[owners] * 0.9
