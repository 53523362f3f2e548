"""The look-up: what to preload for a user after some mini-apps, and why."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from usage_analytics.models.branching.counts.transition_counts import LONGEST_CONTEXT, SESSION_START, UNKNOWN
from usage_analytics.models.branching.factors.situations import STEPS
from usage_analytics.models.branching.users.user_classes import user_key
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.answer import Answer, Context, Item, PrewarmAnswer
from usage_analytics.serving.plan.batch import Answers, BatchLookup, Codes
from usage_analytics.serving.plan.choosing import choose
from usage_analytics.serving.plan.file import read_plan
from usage_analytics.serving.plan.key_index import Keys
from usage_analytics.serving.plan.prewarm_answers import prewarm_answer
from usage_analytics.serving.plan.tables import NO_PHASE, PlanTables, entity_key, holding_at, suffix_keys
from usage_analytics.trading_calendar import PHASES

_Factors = tuple[float, float, float, float]  # in the order of `Item`
_Candidate = tuple[int, float, _Factors, float]  # position, probability, factors, `led`


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
        self._revisit, self._class_revisits = tables.revisit_factors.tolist(), tables.class_revisits.tolist()
        self._phase_factors = tables.phase_factors.tolist()
        self._context_keys, self._context_starts = tables.context_keys.data, tables.context_starts.data
        self._unlisted, self._class_factors = tables.context_unlisted.data, tables.class_factors.data
        self._user_keys, self._user_classes = tables.user_keys.data, tables.user_classes.data
        self._entity_keys, self._entity_starts = tables.entity_keys.data, tables.entity_starts.data
        self._entries = tables.entry_positions.data, tables.entry_probabilities.data
        self._entity_entries = tables.entity_positions.data, tables.entity_factors.data, tables.entity_leads.data

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
        entity: str | None = None,
    ) -> Answer:
        """What to preload for a user, a pseudonym or None, who opened these mini-apps in this user session.

        context: most recent last; with None before the first one it is the whole user session so far, and [None] alone
        its start. Its end chooses the candidates, all of it their revisit factors. budget: the plan's own by default.
        at: its time of day chooses the price and the phase of the trading day; without it the usual price holds, and no
        phase tells. entity: what the user has in hand, as messages name it.
        What the plan does not know is left out and marked in the answer; what cannot be is a ValueError or TypeError.
        """
        if budget is not None and not isinstance(budget, Budget):
            raise TypeError(f"a budget is a Budget(calls, bytes), not {budget!r}")
        codes = self._coded(context)
        place, order = self._longest_known(codes)
        user_class, in_hand = self._class_of(user), self._in_hand(entity)
        price, phase = holding_at(self.tables, at)
        answered, transitions = tuple(context[len(context) - order :]), int(self.tables.transitions[place])
        candidates = self._candidates(place, codes, user_class, in_hand, phase)
        saved, cost = self._saved, self._cost
        values = [probability * saved[app] - price * cost[app] for app, probability, *_ in candidates]
        sizes = [self._sizes[candidate[0]] for candidate in candidates]
        items = tuple(
            self._item(candidates[chosen], values[chosen], answered, transitions)
            for chosen in choose(values, sizes, self.tables.facts.budget if budget is None else budget)
        )
        whole = order == LONGEST_CONTEXT or answered == tuple(context)
        unknown = tuple(name for name in context if name is not None and name not in self._codes)
        known = user_class > 0, in_hand.known
        when = None if phase == NO_PHASE else PHASES[phase - 1]
        return Answer(self.name, items, answered, transitions, whole, unknown, *known, price, when)

    def next_many(
        self,
        users: Keys,
        contexts: Codes,
        budget: Budget | None = None,
        at: datetime | None = None,
        entities: Keys | None = None,
        price: float | None = None,
    ) -> Answers:
        """As `next`, for many moments at once: users (moments,) of `user_key`, contexts (moments, length) of `encode`.

        entities: (moments,) of `entity_key`. A key of no user, 0 for one, gets the population's answer; a key of no
        entity, 0 for one, makes no difference. price: instead of the one that holds at the instant.
        """
        usual, phase = holding_at(self.tables, at)
        limits = self.tables.facts.budget if budget is None else budget
        return self._batch.answers(users, entities, contexts, limits, usual if price is None else price, phase)

    def prewarm(self, user: str | None, at: datetime, budget: Budget | None = None) -> PrewarmAnswer:
        """What a user, a pseudonym or None, is to fetch now for dearer times soon; a user asks once a slot.

        What is still fresh need not be fetched again. budget: the plan's own by default and at most, for the back end
        has room for no more. ValueError where the instant has no time zone, or the user is no pseudonym.
        """
        most = self.tables.facts.budget
        limits = most if budget is None else Budget(min(budget.calls, most.calls), min(budget.bytes, most.bytes))
        return prewarm_answer(self.tables, self.name, self._class_of(user), at, limits)

    def knows(self, user: str) -> bool:
        """Whether the plan has a class of this user, a pseudonym."""
        return _place(self._user_keys, user_key(user)) is not None

    def knows_entity(self, entity: str) -> bool:
        """Whether the plan knows what this makes likelier, by its name in messages."""
        return _place(self._entity_keys, entity_key(entity)) is not None

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

    def _class_of(self, user: str | None) -> int:
        place = None if user is None else _place(self._user_keys, user_key(user))
        return 0 if place is None else int(self._user_classes[place])

    def _in_hand(self, entity: str | None) -> _InHand:
        place = None if entity is None else _place(self._entity_keys, entity_key(entity))
        if place is None:
            return NOTHING
        listed = slice(self._entity_starts[place], self._entity_starts[place + 1])
        positions, factors, leads = [entries[listed].tolist() for entries in self._entity_entries]
        return _InHand(True, dict(zip(positions, zip(factors, leads, strict=True), strict=True)), sum(leads))

    def _candidates(
        self, place: int, codes: list[int], user_class: int, in_hand: _InHand, phase: int
    ) -> list[_Candidate]:
        # All that is listed shares the probability, the current mini-app too; it alone cannot be preloaded.
        here = slice(self._context_starts[place], self._context_starts[place + 1])
        positions, probabilities = [entries[here].tolist() for entries in self._entries]
        current = codes[0] - 1 if codes else UNKNOWN
        revisits, of_entity = self._revisits(codes, user_class), in_hand.entries
        liked, timely = self._class_factors, self._phase_factors[phase]
        total: float = self._unlisted[place, user_class]
        weighed: list[_Candidate] = []
        for position, probability in zip(positions, probabilities, strict=True):
            revisit = revisits.get(position, 1.0)
            if position == current:  # factors are of what is opened anew: to stay is neither liked nor led to
                total += probability * revisit
                continue
            of_it, led = of_entity.get(position, NOT_LISTED)
            factors = revisit, liked[user_class, position], timely[position], of_it
            weight = probability * factors[0] * factors[1] * factors[2] * factors[3]
            total += weight
            weighed.append((position, weight, factors, led))
        share = (1.0 - in_hand.led) / total if total else 0.0
        found = [(position, weight * share + led, factors, led) for position, weight, factors, led in weighed]
        if in_hand.led:
            listed = {current, *positions}
            found += [(at, led, NO_FACTORS, led) for at, (_, led) in of_entity.items() if led and at not in listed]
        return found

    def _revisits(self, codes: list[int], user_class: int) -> dict[int, float]:
        factors: dict[int, float] = {}
        of_class = self._class_revisits[user_class]
        for step, code in enumerate(codes, start=1):
            if code > SESSION_START and code - 1 not in factors:
                row = bisect_right(STEPS, step) - 1
                factors[code - 1] = self._revisit[row][code - 1] * of_class[row]
        return factors

    def _item(self, candidate: _Candidate, value: float, context: Context, transitions: int) -> Item:
        position, probability, factors, led = candidate
        saved, cost, size = self._saved[position], self._cost[position], self._bytes[position]
        name = self.tables.mini_apps[position]
        return Item(name, probability, context, transitions, *factors, led, saved, cost, value, size)


class _InHand(NamedTuple):
    known: bool
    entries: Mapping[int, tuple[float, float]]  # factor and lead, by position
    led: float  # all leads together


NOTHING, NOT_LISTED, NO_FACTORS = _InHand(False, {}, 0.0), (1.0, 0.0), (1.0, 1.0, 1.0, 1.0)


def _place(keys: memoryview, key: int) -> int | None:
    place = bisect_left(keys, key)
    return place if place < len(keys) and keys[place] == key else None
