"""Models of a few sessions, and factors of any kind, for tests of plans."""

from __future__ import annotations

import numpy as np
import polars as pl

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.models.branching.factors.situations import STEPS
from usage_analytics.models.branching.sessions.user_sessions import NOTHING_KNOWN, Known
from usage_analytics.models.branching.users.user_classes import UserClasses
from usage_analytics.trading_calendar import PHASES
from usage_analytics_tests.models.branching.counts.gram_rows import SCHEMA

APPS = ("blotter", "chart", "chat", "quotes")
USERS = ("1" * 32, "2" * 32, "f" * 32)  # of class 1, of class 2, not known
ENTITIES = ("BD-007", "EQ-001")


def fit(*sessions: list[str], times: int = 1) -> NGramModel:
    """Counts of sessions, each seen so many times."""
    rows: list[tuple[str | int | None, ...]] = []
    for session in sessions:
        padded: list[str | None] = [None, None, None, *session]
        rows.extend((*padded[i : i + 4], times) for i in range(len(session)))
    return NGramModel.fit(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def without_factors(counts: NGramModel) -> FactoredModel:
    """A model that knows no more than its counts."""
    return FactoredModel(counts, Factors.none(len(counts.mini_apps)), NOTHING_KNOWN)


def with_factors(counts: NGramModel, seed: int) -> FactoredModel:
    """A model that knows two classes of users and two entities, its factors drawn by chance."""
    chance, apps = np.random.default_rng(seed), len(counts.mini_apps)

    def drawn(rows: int, columns: int) -> np.ndarray:
        factors = np.exp(chance.normal(size=(rows, columns))).astype(np.float32)
        factors[0] = 1.0
        return factors

    leads = (chance.dirichlet(np.ones(apps), 1 + len(ENTITIES)) * 0.3 * (chance.random(apps) < 0.5)).astype(np.float32)
    leads[0] = 0.0
    class_revisits = drawn(3, 1 + len(STEPS))
    class_revisits[:, 0] = 1.0
    factors = Factors(
        trust=np.array([0.8], np.float32),
        revisits=drawn(1 + len(STEPS), apps),
        class_revisits=class_revisits,
        after=drawn(1 + apps, apps),
        classes=drawn(3, apps),
        entities=drawn(1 + len(ENTITIES), apps),
        phases=drawn(1 + len(PHASES), apps),
        leads=leads,
    )
    users = UserClasses(np.array([int(user[:16], 16) for user in USERS[:2]], np.uint64), np.array([1, 2], np.uint8))
    return FactoredModel(counts, factors, Known(ENTITIES, users))
