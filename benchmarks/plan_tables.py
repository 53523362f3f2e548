"""A made-up preload plan of any size, for the benchmarks of look-ups."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.factors.situations import STEPS
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.tables import DTYPES, PlanFacts, PlanTables, context_keys_of, entity_key
from usage_analytics.trading_calendar import PHASES

DEAR_SLOT = 6  # half past nine
LED = 0.1  # of all steps with an entity in hand, at most so many go where it leads
LEADING = 0.2  # of what an entity lists, so much it leads to


@dataclass(frozen=True)
class Size:
    """How much a plan holds; entries are averages."""

    mini_apps: int = 60
    contexts: int = 30_000
    users: int = 200_000
    most_entries: int = 10
    classes: int = 64
    entities: int = 20_000
    entity_entries: int = 8


def made_up_tables(size: Size, seed: int = 1) -> PlanTables:
    """A plan of random contexts: all of order 0 to 2 as far as they go, and then some of order 3."""
    draw = np.random.default_rng(seed)
    keys = _context_keys(size, draw)
    counts = draw.integers(size.most_entries // 2, size.most_entries + 1, len(keys))
    positions, probabilities = _entries(counts, size.mini_apps, draw)
    rest = 1.0 - np.bincount(np.repeat(np.arange(len(keys)), counts), probabilities)
    listed = np.minimum(draw.poisson(size.entity_entries, size.entities), size.mini_apps)
    entity_positions, leads = _entries(listed, size.mini_apps, draw)
    leads *= LED * (draw.random(len(leads)) < LEADING)
    class_factors = np.vstack([np.ones(size.mini_apps), draw.lognormal(0, 1, (size.classes - 1, size.mini_apps))])
    arrays: dict[str, npt.ArrayLike] = {
        "saved_ms": draw.lognormal(6, 1, size.mini_apps),
        "cost_ms": draw.lognormal(3, 1, size.mini_apps),
        "payload_bytes": draw.lognormal(13, 1, size.mini_apps),
        "context_keys": keys,
        "context_starts": np.append(0, np.cumsum(counts)),
        "context_unlisted": np.outer(rest, class_factors.mean(axis=1)),
        "transitions": draw.integers(10, 10**6, len(keys)),
        "entry_positions": positions,
        "entry_probabilities": probabilities,
        "revisit_factors": draw.lognormal(0, 0.5, (len(STEPS), size.mini_apps)),
        "class_factors": class_factors,
        "class_revisits": np.vstack([np.ones(len(STEPS)), draw.lognormal(0, 0.2, (size.classes - 1, len(STEPS)))]),
        "phase_factors": np.vstack([np.ones(size.mini_apps), draw.lognormal(0, 0.2, (len(PHASES), size.mini_apps))]),
        "user_keys": np.sort(draw.integers(0, 2**64, size.users, dtype=np.uint64)),
        "user_classes": draw.integers(1, size.classes, size.users),
        "entity_keys": np.sort(np.array([entity_key(name) for name in entity_names(size.entities)], np.uint64)),
        "entity_starts": np.append(0, np.cumsum(listed)),
        "entity_positions": entity_positions,
        "entity_factors": draw.lognormal(0, 1, len(entity_positions)),
        "entity_leads": leads,
        "prices": np.where(np.arange(36) == DEAR_SLOT, 5.0, 1.0),
        "slot_phases": np.arange(36) % (1 + len(PHASES)),
        "prewarm_slots": [DEAR_SLOT - 1],
        "prewarm_ends": [DEAR_SLOT + 1],
        "prewarm_prices": [1.0],
        "prewarm_chances": draw.beta(1, 10, (1, size.classes, size.mini_apps)),
    }
    facts = PlanFacts(
        date(2026, 11, 23), "made up", 10**6, Budget(3, 4e6), datetime(2026, 11, 23, 23, tzinfo=UTC),
        "America/New_York", time(8), 15, tuple(date(2026, 11, 23) + timedelta(days=n) for n in range(31)),
    )  # fmt: skip
    names = tuple(f"mini_app_{number:05d}" for number in range(size.mini_apps))
    return PlanTables(facts, names, **{name: np.asarray(arrays[name]).astype(DTYPES[name]) for name in DTYPES})


def entity_names(entities: int) -> list[str]:
    """Of the entities of a made-up plan."""
    return [f"instrument {number}" for number in range(entities)]


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
    """Positions and falling probabilities, 0.9 together, of lists of so many mini-apps."""
    owners = np.repeat(np.arange(len(counts)), counts)
    weights = draw.exponential(size=len(owners))
    weights = weights[np.lexsort((-weights, owners))]
    positions = np.concatenate([np.zeros(0, np.int64), *(draw.permutation(mini_apps)[:count] for count in counts)])
    return positions, weights / np.bincount(owners, weights)[owners] * 0.9
