"""User sessions for tests: as they are given, or of a Markov chain whose next step is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import SESSION_SCHEMA, SessionBatch

DAY = date(2026, 11, 23)
FIT, VALIDATION, HELD_OUT = (0, 1, 2), 3, 4


def session_table(sessions: Sequence[Sequence[str]], folds: Sequence[int] | None = None) -> pa.Table:
    """Each session a user's own, a minute later than the one before; folds in turn unless given."""
    folds = [n % 5 for n in range(len(sessions))] if folds is None else folds
    columns = {
        "trading_day": [DAY] * len(sessions),
        "user_id": [f"user-{n:05d}" for n in range(len(sessions))],
        "session_number": [1] * len(sessions),
        "fold": list(folds),
        "mini_apps": [list(session) for session in sessions],
        "times_us": [[n * 60_000_000 + place for place in range(len(each))] for n, each in enumerate(sessions)],
        "entities": [[None] * len(session) for session in sessions],
        "phases": [[None] * len(session) for session in sessions],
    }
    return pa.table(columns, SESSION_SCHEMA)


def write_sessions(
    path: Path, sessions: Sequence[Sequence[str]], folds: Sequence[int] | None = None, row_group: int = 500
) -> Path:
    pq.write_table(session_table(sessions, folds), path, row_group_size=row_group, write_page_checksum=True)
    return path


def batch_of(users: Sequence[str], sequences: Sequence[Sequence[int]], ended_us: Sequence[int] = ()) -> SessionBatch:
    """User sessions given as codes, all of whose events are at its end; without ends, one after another."""
    sessions = CodedSessions.of(sequences)
    ended = np.array(ended_us or range(len(users)), np.int64)
    return SessionBatch(pa.array(users, pa.string()), sessions, np.repeat(ended, sessions.lengths()))


@dataclass(frozen=True)
class MarkovSessions:
    """Sessions of a chain of some order; before it has so many events behind it, all mini-apps are as likely."""

    sessions: list[list[str]]
    truth: list[list[float]]  # the probability that each event had

    def log_loss(self, fold: int) -> float:
        """Of the chain itself on the predictions of a fold: no model can do better but by luck."""
        told = [p for n, events in enumerate(self.truth) if n % 5 == fold for p in events[1:]]
        return float(-np.log(told).mean())


def markov_sessions(order: int, apps: int, sessions: int, seed: int, longest: int = 30) -> MarkovSessions:
    random = np.random.default_rng(seed)
    chain = random.dirichlet(np.full(apps, 0.3), (apps,) * order)
    names = [f"app-{n}" for n in range(apps)]
    walked, truth = [], []
    for length in random.integers(1, longest + 1, sessions).tolist():
        walk: list[int] = []
        likely: list[float] = []
        for drawn in random.random(length).tolist():
            row = chain[tuple(walk[-order:])] if len(walk) >= order else np.full(apps, 1 / apps)
            walk.append(min(int(np.searchsorted(row.cumsum(), drawn)), apps - 1))
            likely.append(float(row[walk[-1]]))
        walked.append([names[app] for app in walk])
        truth.append(likely)
    return MarkovSessions(walked, truth)


def counted(sessions: Sequence[Sequence[str]], folds: Sequence[int]) -> pl.DataFrame:
    """Transition counts of the sessions whose number, modulo five, is one of the folds."""
    rows = []
    for number, session in enumerate(sessions):
        before = [None, None, None, *session]
        rows += [(*before[at : at + 4], 1) for at in range(len(session)) if number % 5 in folds]
    return pl.DataFrame(rows, ["prev3", "prev2", "prev1", "next", "transitions"], orient="row")
