"""The look-up: what to preload for a user after some mini-apps, and why."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from usage_analytics.models.branching.transition_counts import LONGEST_CONTEXT, SESSION_START, UNKNOWN
from usage_analytics.serving.choosing import choose
from usage_analytics.serving.decisions import Budget
from usage_analytics.serving.plan_batch import Answers, BatchLookup, Codes, UserKeys
from usage_analytics.serving.plan_file import read_plan
from usage_analytics.serving.plan_tables import STEPS, USUAL_PRICE, PlanTables, price_at, suffix_keys, user_key

_Candidate = tuple[int, float, float, float]  # position, probability, revisit factor, user's factor
Context = tuple[str | None, ...]  # most recent last; None, first only: the start of the user session


@dataclass(frozen=True, slots=True)
class Item:
    """One mini-app to preload, and what speaks for it: value_ms = probability * saved_ms - price * cost_ms."""

    mini_app: str
    probability: float
    context: Context  # that answered
    transitions: int  # seen after it
    revisit_factor: float  # 1: not visited in this user session, or it makes no difference
    user_factor: float  # 1: this user opens it as often as others, or is not known
    saved_ms: float
    cost_ms: float
    value_ms: float
    payload_bytes: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What to preload, best first, and what was known of what was asked."""

    plan: str
    items: tuple[Item, ...]
    context: Context  # the part of the asked one that answered, its end
    transitions: int  # seen after it
    whole_context: bool  # it has all mini-apps that were asked, or as many as a plan's contexts have at most
    unknown_mini_apps: tuple[str, ...]
    known_user: bool  # else it is the population's answer
    price: float


class PreloadPlan:
    """One plan, ready to answer; threads may share it."""

    def __init__(self, tables: PlanTables, name: str) -> None:
        self.tables = tables
        self.name = name
        self._codes: dict[str | None, int] = {app: code for code, app in enumerate(tables.mini_apps, start=1)}
        self._codes[None] = SESSION_START
        # Lists, and views of Python's own numbers: for a handful of candidates numpy would take several times as long.
        self._saved, self._cost = tables.saved_ms.tolist(), tables.cost_ms.tolist()
        self._bytes = tables.payload_bytes.tolist()
        self._sizes = np.ceil(tables.payload_bytes).tolist()
        self._revisit = tables.revisit_factors.tolist()
        self._context_keys, self._user_keys = tables.context_keys.data, tables.user_keys.data
        self._context_starts, self._user_starts = tables.context_starts.data, tables.user_starts.data

    @classmethod
    def open(cls, path: str | Path) -> PreloadPlan:
        """Map a plan's file; `UnusablePlan`, a `UserError`, if it is not exactly what was written."""
        tables, _ = read_plan(Path(path))
        return cls(tables, Path(path).stem)

    def next(
        self,
        user: str | None,
        context: Sequence[str | None],
        budget: Budget | None = None,
        at: datetime | None = None,
    ) -> Answer:
        """What to preload for a user, a pseudonym or None, who opened these mini-apps in this user session.

        context: most recent last. Its end chooses the candidates, all of it their revisit factors. budget: the plan's
        own by default. at: its time of day chooses the price; without it the usual one holds.
        What the plan does not know is left out and marked in the answer; what cannot be is a ValueError or TypeError.
        """
        codes = self._coded(context)
        place, order = self._longest_known(codes)
        factors = self._factors_of(user)
        price = USUAL_PRICE if at is None else price_at(self.tables, at)
        answered, transitions = tuple(context[len(context) - order :]), int(self.tables.transitions[place])
        candidates = self._candidates(place, codes, factors)
        saved, cost = self._saved, self._cost
        values = [probability * saved[app] - price * cost[app] for app, probability, _, _ in candidates]
        sizes = [self._sizes[candidate[0]] for candidate in candidates]
        items = tuple(
            self._item(candidates[chosen], values[chosen], answered, transitions)
            for chosen in choose(values, sizes, self.tables.facts.budget if budget is None else budget)
        )
        whole = order == LONGEST_CONTEXT or _names(answered) == _names(context)
        unknown = tuple(name for name in context if name is not None and name not in self._codes)
        return Answer(self.name, items, answered, transitions, whole, unknown, factors.known, price)

    def next_many(
        self,
        users: UserKeys,
        contexts: Codes,
        budget: Budget | None = None,
        at: datetime | None = None,
    ) -> Answers:
        """As `next`, for many moments at once: users (moments,) of `user_key`, contexts (moments, length) of `encode`.

        A key of no user, 0 for one, gets the population's answer.
        """
        price = USUAL_PRICE if at is None else price_at(self.tables, at)
        return self._batch.answers(users, contexts, self.tables.facts.budget if budget is None else budget, price)

    def knows(self, user: str) -> bool:
        """Whether the plan has factors of this user, a pseudonym."""
        return _place(self._user_keys, user_key(user)) is not None

    def encode(self, contexts: Sequence[Sequence[str | None]], length: int = LONGEST_CONTEXT) -> Codes:
        """Codes of contexts, nearest first, for `next_many`: (contexts, length). What is not given is UNKNOWN too."""
        codes = np.full((len(contexts), length), UNKNOWN, dtype=np.int64)
        for row, context in enumerate(contexts):
            coded = self._coded(context)[:length]
            codes[row, : len(coded)] = coded
        return codes

    @cached_property
    def _batch(self) -> BatchLookup:
        return BatchLookup(self.tables)

    def _coded(self, context: Sequence[str | None]) -> list[int]:
        if isinstance(context, str):
            raise TypeError(f"a context is a sequence of mini-apps, not the text {context!r}")
        if None in context[1:]:
            raise ValueError(f"None, the start of the user session, may only come first in a context: {context}")
        return [self._codes.get(name, UNKNOWN) for name in reversed(context)]

    def _longest_known(self, codes: list[int]) -> tuple[int, int]:
        keys = suffix_keys(codes, len(self.tables.mini_apps))
        for order in range(len(keys) - 1, 0, -1):
            place = _place(self._context_keys, keys[order])
            if place is not None:
                return place, order
        return 0, 0  # every plan has the empty context, and its key is the smallest

    def _factors_of(self, user: str | None) -> _UserFactors:
        place = None if user is None else _place(self._user_keys, user_key(user))
        if place is None:
            return POPULATION
        mine = slice(self._user_starts[place], self._user_starts[place + 1])
        positions, factors = self.tables.user_positions[mine].tolist(), self.tables.user_factors[mine].tolist()
        return _UserFactors(
            True, dict(zip(positions, factors, strict=True)), float(self.tables.user_other_factors[place])
        )

    def _candidates(self, place: int, codes: list[int], user: _UserFactors) -> list[_Candidate]:
        # All that is listed shares the probability, the current mini-app too; it alone cannot be preloaded.
        entries = slice(self._context_starts[place], self._context_starts[place + 1])
        positions = self.tables.entry_positions[entries].tolist()
        probabilities = self.tables.entry_probabilities[entries].tolist()
        revisits = self._revisits(codes)
        found = [
            (position, probability, revisits.get(position, 1.0), user.factors.get(position, user.other))
            for position, probability in zip(positions, probabilities, strict=True)
        ]
        unlisted = max(1.0 - sum(probabilities), 0.0) * user.other
        total = sum([probability * revisit * factor for _, probability, revisit, factor in found], unlisted)
        if total == 0.0:
            return []
        current = codes[0] - 1 if codes else UNKNOWN
        return [
            (position, probability * revisit * factor / total, revisit, factor)
            for position, probability, revisit, factor in found
            if position != current
        ]

    def _revisits(self, codes: list[int]) -> dict[int, float]:
        factors: dict[int, float] = {}
        for step, code in enumerate(codes, start=1):
            if code > SESSION_START and code - 1 not in factors:
                factors[code - 1] = self._revisit[bisect_right(STEPS, step) - 1][code - 1]
        return factors

    def _item(self, candidate: _Candidate, value: float, context: Context, transitions: int) -> Item:
        position, probability, revisit, factor = candidate
        saved, cost, size = self._saved[position], self._cost[position], self._bytes[position]
        name = self.tables.mini_apps[position]
        return Item(name, probability, context, transitions, revisit, factor, saved, cost, value, size)


class _UserFactors(NamedTuple):
    known: bool
    factors: Mapping[int, float]  # by position
    other: float  # of all positions not listed


POPULATION = _UserFactors(False, {}, 1.0)


def _names(context: Sequence[str | None]) -> int:
    return len(context) - (None in context[:1])


def _place(keys: memoryview, key: int) -> int | None:
    place = bisect_left(keys, key)
    return place if place < len(keys) and keys[place] == key else None
