"""User sessions in which the mini-app so many steps back tells what comes next, and models that know it or do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.session_file import write_sessions
from usage_analytics_tests.models.branching.counts.gram_rows import SCHEMA
from usage_analytics_tests.serving.small_models import APPS, without_factors

SURE = 0.85  # probability of what the mini-app so many steps back leads to; the others share the rest
STEP_US = 20_000_000


def likely(earlier: int) -> Floats:
    """What follows a mini-app, by position: its neighbour in the list."""
    row = np.full(len(APPS), (1.0 - SURE) / (len(APPS) - 1))
    row[(earlier + 1) % len(APPS)] = SURE
    return row


def write_world(path: Path, back: int, users: int = 120, events: int = 30, seed: int = 1) -> Path:
    """A user session of each user."""
    chance = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        walk = chance.integers(0, len(APPS), back).tolist()
        while len(walk) < events:
            walk.append(int(chance.choice(len(APPS), p=likely(walk[-back]))))
        rows.append({
            "trading_day": date(2026, 11, 23), "user_id": f"{user:032x}", "session_number": 1, "fold": user % 5,
            "mini_apps": [APPS[app] for app in walk], "times_us": [STEP_US * step for step in range(events)],
            "entities": [None] * events,
            "phases": [None] * events,
        })  # fmt: skip
    write_sessions(pl.DataFrame(rows, schema_overrides={"entities": pl.List(pl.String)}), path)
    return path


@dataclass(frozen=True)
class LooksBack:
    """Knows the rule of these sessions; before there is something so far back, all mini-apps are as likely to it."""

    back: int
    mini_apps: tuple[str, ...] = APPS
    reserved: float = 1e-4

    def probabilities(self, sessions: CodedSessions) -> Floats:
        return np.array(list(self._rows(sessions)))

    def _rows(self, sessions: CodedSessions) -> Iterator[Floats]:
        for begin, end in zip(sessions.starts[:-1], sessions.starts[1:], strict=True):
            for place in range(begin + 1, end):
                earlier = place - self.back
                code = int(sessions.codes[earlier]) if earlier >= begin else -1
                yield likely(code - 1) if code > 0 else np.full(len(APPS), 1 / len(APPS))


def blind_model(trading_day: date | None = None) -> FactoredModel:
    """Counts that list every context of three, and saw every mini-app follow each as often."""
    grams = [(*context, 20) for context in product(APPS, repeat=4)]
    return without_factors(NGramModel.fit(pl.DataFrame(grams, schema=SCHEMA, orient="row"), trading_day=trading_day))
