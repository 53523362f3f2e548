"""What users opened whose sessions were like the running one: vector multiplication session-kNN (VSKNN).

Source: Ludewig & Jannach, Evaluation of session-based recommendation algorithms, 2018, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.challengers.recent_sessions import RecentSessions
from usage_analytics.models.branching.counts.transition_counts import SESSION_START


@dataclass(frozen=True)
class NeighbourSettings:
    """How far the search goes."""

    compared: int = 1000  # the most recent sessions that share a mini-app with the running one
    neighbours: int = 500  # the most similar of them
    longest: int = 10  # latest events of the running session that count


def neighbour_shares(recent: RecentSessions, contexts: Ints, mini_apps: int, settings: NeighbourSettings) -> Floats:
    """Each mini-app's share of the neighbours' scores: (contexts, mini_apps); zeros where there are no neighbours.

    contexts: codes (contexts, longest), nearest first. A shared mini-app counts by its place in the running session,
    linearly up to the latest; a neighbour's vote decays with the place of the latest that it shares, as 1 / place.
    """
    shares = np.zeros((len(contexts), mini_apps))
    similarity = np.zeros(len(recent.starts) - 1)
    decay = np.zeros(len(recent.starts) - 1)
    for row, context in enumerate(contexts):
        shared = [(place, recent.with_app(app)[: settings.compared]) for app, place in _places(context).items()]
        candidates = _merged([sessions for _, sessions in shared])[: settings.compared]
        length = np.count_nonzero(context != SESSION_START)
        for place, sessions in reversed(shared):
            similarity[sessions] += (length - place) / length
            decay[sessions] = 1.0 / (place + 1)
        nearest = candidates[np.argsort(-similarity[candidates], kind="stable")[: settings.neighbours]]
        if len(nearest):
            shares[row] = _votes(recent, nearest, similarity[nearest] * decay[nearest], mini_apps)
        for _, sessions in shared:
            similarity[sessions] = 0.0
    return shares


def _places(context: Ints) -> dict[int, int]:
    """The known mini-apps of a context, each with its latest place, 0 the nearest; in that order."""
    places: dict[int, int] = {}
    for place, code in enumerate(context.tolist()):
        if code > 0:
            places.setdefault(code - 1, place)
    return places


def _merged(ascending: Sequence[Ints]) -> Ints:
    """The distinct numbers of some ascending lists, ascending: a stable sort merges them, np.unique would hash them."""
    numbers = np.sort(np.concatenate([np.empty(0, np.int64), *ascending]), kind="stable")
    return numbers[np.diff(numbers, prepend=-1) > 0]


def _votes(recent: RecentSessions, sessions: Ints, votes: Floats, mini_apps: int) -> Floats:
    begins, lengths = recent.starts[sessions], recent.starts[sessions + 1] - recent.starts[sessions]
    ends = np.cumsum(lengths)
    entries = np.arange(ends[-1]) + np.repeat(begins - (ends - lengths), lengths)
    scores = np.bincount(recent.opened[entries], np.repeat(votes, lengths), mini_apps)
    return scores / scores.sum()
