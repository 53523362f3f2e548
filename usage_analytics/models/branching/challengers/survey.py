"""What challengers learn their vocabulary from: the mini-apps of user sessions, and how often each follows another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from usage_analytics.errors import UserError
from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.sessions.user_sessions import read_rows, row_groups


@dataclass(frozen=True)
class Survey:
    """What user sessions hold: the vocabulary, and how often each of it followed another mini-app."""

    mini_apps: tuple[str, ...]  # sorted
    followed: Ints  # (mini_apps,)
    sessions: int

    @property
    def predictions(self) -> int:
        """Events that are not the first of their session."""
        return int(self.followed.sum())

    def frequencies(self) -> Floats:
        """Share of each mini-app in what follows: (mini_apps,). Above zero even for one that only opened sessions."""
        smoothed = self.followed + 0.5
        return smoothed / smoothed.sum()


def survey(paths: Iterable[Path], folds: Sequence[int]) -> Survey:
    """Read the user sessions of some folds once. `UserError` where they hold nothing to predict."""
    paths = list(paths)
    everywhere: Counter[str] = Counter()
    first: Counter[str] = Counter()
    sessions = 0
    for rows in read_rows(row_groups(paths), folds):
        sessions += rows.num_rows
        _add(everywhere, rows["mini_apps"].flatten())
        _add(first, pc.list_element(rows["mini_apps"], 0))
    if not (everywhere - first):
        told = f"fold {', '.join(map(str, folds))}"
        raise UserError(f"{_told(paths)}: no user session of {told} has a second event, there is nothing to learn from")
    mini_apps = tuple(sorted(everywhere))
    return Survey(mini_apps, np.array([everywhere[app] - first[app] for app in mini_apps], np.int64), sessions)


def _add(counts: Counter[str], names: pa.Array) -> None:
    counted = pc.value_counts(names)
    counts.update(
        dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)),
    )


def _told(paths: Sequence[Path]) -> str:
    if not paths:
        return "no file of user sessions"
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
