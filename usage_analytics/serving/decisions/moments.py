"""Moments at which something may be preloaded: what was open, what was expected, what came next and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from usage_analytics.serving.arrays import Floats, Ints
from usage_analytics.serving.decisions.economics import Economics

NONE = -1  # position of a mini-app that the model never saw

_MOMENTS_AT_ONCE = 8192  # bounds memory: a matrix of 500 mini-apps has 33 MB


@dataclass(frozen=True)
class Moments:
    """The situations in which something may be preloaded, one per row of probabilities."""

    current: Ints  # (moments,) position of the mini-app that is open, which is loaded already; or NONE
    price: Floats  # (moments,) of the back end: 1 where it is idle

    def __len__(self) -> int:
        return len(self.current)

    def without_current(self, scores: Floats) -> Floats:
        """The scores (moments, mini_apps), with 0 for the mini-app that is open."""
        able = np.array(scores, np.float64)
        known = np.flatnonzero(self.current != NONE)
        able[known, self.current[known]] = 0.0
        return able


@dataclass(frozen=True)
class Transitions:
    """Counts of what came next, one row per moment and mini-app, in the order of the moments. ValueError if not."""

    moment: Ints  # (rows,)
    next: Ints  # (rows,) position, or NONE
    transitions: Ints  # (rows,)
    dwell_ms: Floats  # (rows,) mean time from the moment until the next action

    def __post_init__(self) -> None:
        if (np.diff(self.moment) < 0).any():
            raise ValueError("transitions are not in the order of their moments")
        if not (self.dwell_ms >= 0).all():
            raise ValueError("a mean dwell time is negative or not a number")
        if (self.transitions < 0).any():
            raise ValueError("a count of transitions is negative")


@dataclass(frozen=True)
class Stakes:
    """What could be won at each moment by preloading each mini-app, over all transitions."""

    transitions: Floats  # (moments,)
    opened: Floats  # (moments, mini_apps) how often each was opened next; the current one never is
    waiting_ms: Floats  # (moments, mini_apps) what users waited for it
    saved_ms: Floats  # (moments, mini_apps) what they had not waited, had it been preloaded


@dataclass(frozen=True)
class KnownMoments:
    """Each distinct situation of some days with what a model expects, and what came next there."""

    probabilities: Floats  # (moments, mini_apps)
    moments: Moments
    transitions: Transitions

    def parts(self) -> Iterator[KnownMoments]:
        """The same, some moments at a time."""
        for begin in range(0, len(self.moments), _MOMENTS_AT_ONCE):
            yield self.part(begin, begin + _MOMENTS_AT_ONCE)

    def part(self, begin: int, end: int) -> KnownMoments:
        """The moments from one on, up to another."""
        rows = slice(*np.searchsorted(self.transitions.moment, [begin, end]))
        return KnownMoments(
            self.probabilities[begin:end],
            Moments(self.moments.current[begin:end], self.moments.price[begin:end]),
            Transitions(
                self.transitions.moment[rows] - begin,
                self.transitions.next[rows],
                self.transitions.transitions[rows],
                self.transitions.dwell_ms[rows],
            ),
        )

    def stakes(self, economics: Economics) -> Stakes:
        """Add up the transitions of each moment.

        A repeat of the current mini-app waits for nothing. A preload that is under way when its mini-app is opened
        saves the time that has passed: the mean of a row's dwell times stands for each of them.
        """
        seen, shape = self.transitions, self.probabilities.shape
        opens = np.flatnonzero((seen.next != NONE) & (seen.next != self.moments.current[seen.moment]))
        place = seen.moment[opens] * shape[1] + seen.next[opens]
        counts, latency_ms = seen.transitions[opens].astype(np.float64), economics.saved_ms[seen.next[opens]]

        def summed(what: Floats) -> Floats:
            return np.asarray(np.bincount(place, what, shape[0] * shape[1]).reshape(shape), np.float64)

        return Stakes(
            transitions=np.asarray(np.bincount(seen.moment, seen.transitions, shape[0]), np.float64),
            opened=summed(counts),
            waiting_ms=summed(counts * latency_ms),
            saved_ms=summed(counts * np.minimum(latency_ms, seen.dwell_ms[opens])),
        )
