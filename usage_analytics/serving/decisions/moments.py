"""Moments at which something may be preloaded: what was open, what was expected, what came next and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from usage_analytics.serving.decisions.economics import Economics, Floats, Ints

NONE = -1  # position of a mini-app that the model never saw

_PREVIOUS = ("prev3", "prev2", "prev1")  # oldest first
_MOMENTS_AT_ONCE = 8192  # bounds memory: a matrix of 500 mini-apps has 33 MB

Context = tuple[str | None, ...]


class NextActionModel(Protocol):
    """Gives the probability of each next mini-app, (contexts, mini_apps), from names, most recent last."""

    @property
    def mini_apps(self) -> tuple[str, ...]: ...

    def probabilities(self, contexts: Sequence[Context]) -> Floats: ...


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


def read_held_out(counts: pl.DataFrame, model: NextActionModel) -> KnownMoments:
    """The distinct contexts of held-out rows of ``app_transitions``, at price 1.

    counts: prev1, further prev2 and prev3 (null before the start of the user session), next, transitions, dwell_us
    (a sum); other columns are summed away. First actions of a user session are left out: before them there is nothing
    to decide. ValueError when columns are missing, or nothing is left.
    """
    missing = [name for name in ("prev1", "next", "transitions", "dwell_us") if name not in counts.columns]
    if missing:
        raise ValueError(f"held-out counts lack the columns {missing}; they have {counts.columns}")
    previous = [name for name in _PREVIOUS if name in counts.columns]
    inside = counts.filter(pl.col("prev1").is_not_null() & (pl.col("transitions") > 0))
    if inside.is_empty():
        raise ValueError("the held-out counts hold no transition after a first action: there is nothing to replay")
    summed = inside.group_by(*previous, "next").agg(pl.col("transitions", "dwell_us").sum()).sort(*previous, "next")
    rows = summed.with_columns(pl.struct(previous).rle_id().alias("moment"))
    contexts = rows.unique("moment", keep="first", maintain_order=True).select(previous).rows()
    position = {name: place for place, name in enumerate(model.mini_apps)}
    current = np.array([position.get(context[-1], NONE) for context in contexts], np.int64)
    return KnownMoments(
        model.probabilities(contexts),
        Moments(current, np.ones(len(contexts))),
        Transitions(
            rows["moment"].to_numpy().astype(np.int64),
            np.array([position.get(name, NONE) for name in rows["next"]], np.int64),
            rows["transitions"].to_numpy().astype(np.int64),
            (rows["dwell_us"] / rows["transitions"] / 1e3).to_numpy(),
        ),
    )
