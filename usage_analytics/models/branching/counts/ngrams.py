"""Which mini-app comes next, from counts: after the last three, and how far these are to be trusted beside fewer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.counts.context_levels import ContextLevel, build_level, context_keys
from usage_analytics.models.branching.counts.interpolation import (
    MOST_N_GRAMS,
    Coded,
    learn_weights,
    unlearned,
    with_weights,
)
from usage_analytics.models.branching.counts.transition_counts import (
    LONGEST_CONTEXT,
    SESSION_START,
    UNKNOWN,
    encode_grams,
    sum_counts,
    vocabulary,
)

Context = tuple[str | None, ...]


class NGramModel:
    """Interpolated discounted counts of contexts of order 0 to `max_order`.

    Where the counts tell folds of users apart, contexts weigh as much as they were worth to users who were left out
    (`interpolation`); else as much as modified absolute discounting gives them. Shorter contexts keep their own counts,
    not Kneser-Ney's continuation counts: a preload plan asks them directly, so each order must be calibrated by itself.
    Repeated visits are transitions like any other.
    Source: Chen & Goodman, An empirical study of smoothing techniques for language modeling, 1999.
    """

    def __init__(
        self,
        grams: pl.DataFrame,
        max_order: int,
        trading_day: date | None,
        weights: Floats | None = None,
        also: Sequence[str] = (),
    ) -> None:
        """Build from the output of `sum_counts`, and weights if they were learned before; use `fit` or `load`."""
        self.max_order = max_order
        self.trading_day = trading_day
        self.grams = grams
        self.mini_apps = tuple(sorted({*vocabulary(grams), *also}))
        self.transitions = int(grams["transitions"].sum())
        self._base = len(self.mini_apps) + 1
        self._codes = {name: code for code, name in enumerate(self.mini_apps, start=1)}
        if self._base ** (max_order + 1) > np.iinfo(np.int64).max:
            raise ValueError(f"{len(self.mini_apps)} mini-apps are too many for contexts of order {max_order}")
        coded = self._coded(self.grams)
        self.weights = self._learned(coded) if weights is None else weights
        self._levels = tuple(map(with_weights, self._levels_of(coded), self.weights))

    def _coded(self, grams: pl.DataFrame) -> Coded:
        contexts, following, transitions = encode_grams(grams, self.mini_apps, max(self.max_order, 1))
        return Coded(contexts, following - 1, transitions)

    def _levels_of(self, coded: Coded) -> tuple[ContextLevel, ...]:
        levels = []
        for order in range(self.max_order + 1):
            keys, usable = context_keys(coded.contexts, self._base, order)
            if order == 0:
                # an unknown context is met inside a user session: what opens one would mislead
                usable = coded.contexts[:, 0] != SESSION_START
            rows = np.flatnonzero(usable)
            levels.append(build_level(keys[rows], coded.actions[rows], coded.transitions[rows], self._base, order))
        return tuple(levels)

    def _learned(self, coded: Coded) -> Floats:
        """Weights (orders, BUCKETS), learned fold by fold; NaN where there is nothing to learn from."""
        folds = self.grams["fold"].fill_null(-1).to_numpy() if "fold" in self.grams.columns else np.empty(0, np.int64)
        known = np.unique(folds[folds >= 0])
        parts, left_out = [], 0
        for fold in known.tolist() if len(known) > 1 else ():
            held = np.flatnonzero((folds == fold) & (coded.contexts[:, 0] != SESSION_START))
            if len(held) and left_out < MOST_N_GRAMS:
                parts.append((self._levels_of(coded[np.flatnonzero(folds != fold)]), coded[held]))
                left_out += len(held)
        return learn_weights(parts, self._base) if parts else unlearned(self.max_order)

    @classmethod
    def fit(cls, counts: pl.DataFrame, max_order: int = LONGEST_CONTEXT, trading_day: date | None = None) -> NGramModel:
        """Fit to transition counts: prev3, prev2, prev1 (null: before the start), next, transitions.

        Rows may repeat and may cover many trading days; `trading_day` names the last of them. ValueError when a rule of
        the counts is broken, or when they hold no transition.
        """
        grams = sum_counts(counts, max_order)
        if not grams.height:
            raise ValueError("the transition counts hold no transition: there is nothing to learn from")
        return cls(grams, max_order, trading_day)

    def widened(self, mini_apps: Sequence[str]) -> NGramModel:
        """The same counts and weights, with mini-apps that were not counted; those are not saved."""
        if set(mini_apps) <= set(self.mini_apps):
            return self
        return NGramModel(self.grams, self.max_order, self.trading_day, self.weights, mini_apps)

    def probabilities(self, contexts: Sequence[Context], max_order: int | None = None) -> Floats:
        """Probability of each next mini-app: (contexts, mini_apps), rows sum to one, columns as `mini_apps`.

        A context holds the latest mini-apps, most recent last; None, first only, is the start of the user
        session. `max_order` limits the context used: 0 is the overall frequency, 1 a Markov chain.
        """
        return self.coded_probabilities(self.encode(contexts), max_order)

    def evidence(self, contexts: Sequence[Context]) -> tuple[Ints, Ints]:
        """Order of each context's longest known suffix, and the transitions after it: (contexts,) each."""
        codes = self.encode(contexts)
        orders = np.zeros(len(codes), dtype=np.int64)
        transitions = np.zeros(len(codes), dtype=np.int64)
        for level in self._levels:
            rows, positions = level.find(*context_keys(codes, self._base, level.order))
            orders[rows] = level.order
            transitions[rows] = level.totals[positions]
        return orders, transitions

    def contexts(self, max_order: int = 2, minimum_transitions: int = 1) -> list[tuple[str, ...]]:
        """Contexts of order 0 to `max_order` with enough transitions, short and frequent ones first.

        Contexts that reach back to the start of the user session are left out; see `contexts_from_start`.
        """
        found: list[tuple[str, ...]] = []
        for level in self._levels[: max_order + 1]:
            codes = self._frequent(level, minimum_transitions)
            codes = codes[(codes != SESSION_START).all(axis=1)]
            found.extend(tuple(self.mini_apps[code - 1] for code in reversed(row)) for row in codes.tolist())
        return found

    def contexts_from_start(self, max_order: int = 2, minimum_transitions: int = 1) -> list[Context]:
        """Those that are a whole user session so far: None, then mini-apps; the start itself counts in `max_order`."""
        found: list[Context] = []
        for level in self._levels[1 : max_order + 1]:
            codes = self._frequent(level, minimum_transitions)
            codes = codes[codes[:, -1] == SESSION_START, :-1]
            found.extend((None, *(self.mini_apps[code - 1] for code in reversed(row))) for row in codes.tolist())
        return found

    def _frequent(self, level: ContextLevel, minimum_transitions: int) -> Ints:
        """The level's contexts with enough transitions, frequent ones first: codes (contexts, order), nearest first."""
        kept = np.flatnonzero(level.totals >= minimum_transitions)
        kept = kept[np.argsort(-level.totals[kept], kind="stable")]
        return level.keys[kept, None] // self._base ** np.arange(level.order, dtype=np.int64) % self._base

    def encode(self, contexts: Sequence[Context]) -> Ints:
        """Codes of the contexts, nearest first: (contexts, max_order). Positions not given are UNKNOWN."""
        codes = np.full((len(contexts), max(self.max_order, 1)), UNKNOWN, dtype=np.int64)
        for row, context in enumerate(contexts):
            if isinstance(context, str):
                raise TypeError(f"a context is a sequence of mini-apps, not the text {context!r}")
            named = [name is not None for name in context]
            if named != sorted(named):
                raise ValueError(f"None, the start of the user session, may only come first in a context: {context}")
            for position, name in enumerate(reversed(context[-codes.shape[1] :])):
                codes[row, position] = SESSION_START if name is None else self._codes.get(name, UNKNOWN)
        return codes

    def coded_probabilities(self, codes: Ints, max_order: int | None = None) -> Floats:
        """As `probabilities`, for the codes of `encode` or `encode_grams`."""
        limit = self.max_order if max_order is None else max_order
        if limit < 0:
            raise ValueError(f"max_order must not be negative, not {limit}")
        apps = len(self.mini_apps)
        probabilities = np.full((len(codes), apps), 1.0 / apps)
        for level in self._levels[: limit + 1]:
            rows, positions = level.find(*context_keys(codes, self._base, level.order))
            level.interpolate(probabilities, rows, positions)
        return probabilities

    def save(self, path: str | Path) -> None:
        """Write the model to one Parquet file, whole or not at all."""
        from usage_analytics.models.branching.counts.model_file import write_model_file

        write_model_file(Path(path), self.grams, self.max_order, self.trading_day, self.weights)

    @classmethod
    def load(cls, path: str | Path) -> NGramModel:
        """Read a model that `save` wrote. ValueError naming the file if broken or of another version."""
        from usage_analytics.models.branching.counts.model_file import read_model_file

        return cls(*read_model_file(Path(path)))
