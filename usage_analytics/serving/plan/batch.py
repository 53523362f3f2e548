"""The look-up for many moments at once, over numpy arrays; the same rule as `PreloadPlan.next`, in numbers of 32 bits.

So a probability or a value differs from that of `next` by some millionths of the largest number it is made of, and what
is worth, or worth more than another, by less than that may be in the one answer and not in the other. Limits are kept
by both exactly.

Arrays of candidates are (candidates, moments): one step after another goes over all moments, which lie side by side.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.counts.transition_counts import LONGEST_CONTEXT, SESSION_START
from usage_analytics.models.branching.factors.situations import STEPS
from usage_analytics.serving.arrays import Ints, Reals
from usage_analytics.serving.decisions.expected_value import Budget, check_prices
from usage_analytics.serving.plan.choosing import NONE, choose_many
from usage_analytics.serving.plan.entities_in_hand import EntitiesInHand
from usage_analytics.serving.plan.key_index import KeyIndex, Keys
from usage_analytics.serving.plan.tables import NO_PHASE, PlanTables

Codes = npt.NDArray[np.integer]

MOMENTS_AT_ONCE = 8192  # the fewer at once, the more the steps themselves cost; the more, the farther the caches


@dataclass(frozen=True)
class Answers:
    """One row per moment; along the second axis the mini-apps to preload, best first."""

    positions: Ints  # (moments, calls); -1: nothing more is worth it
    probabilities: Reals  # (moments, calls); 0 there
    values_ms: Reals  # (moments, calls); 0 there
    orders: Ints  # (moments,) how many mini-apps the context has that answered
    transitions: Ints  # (moments,) seen after that context
    known_users: npt.NDArray[np.bool_]  # (moments,)
    known_entities: npt.NDArray[np.bool_]  # (moments,)


class BatchLookup:
    """A plan's arrays as the batch needs them.

    Where lists of candidates differ in length, the position after the last stands for none: it saves and costs nothing.
    """

    def __init__(self, tables: PlanTables) -> None:
        self._mini_apps, self._transitions = len(tables.mini_apps), tables.transitions
        self._contexts, self._users = KeyIndex(tables.context_keys), KeyIndex(tables.user_keys)
        count = np.diff(tables.context_starts.astype(np.int64))
        self._width = max(int(count.max()), 1)
        listed = np.arange(self._width) < count[:, None]
        self._positions = np.full(listed.shape, self._mini_apps, dtype=np.uint16)
        self._positions[listed] = tables.entry_positions
        self._probabilities = np.zeros(listed.shape, dtype=np.float32)
        self._probabilities[listed] = tables.entry_probabilities
        self._unlisted, self._classes = tables.context_unlisted.ravel(), len(tables.class_factors)
        self._user_classes = np.append(tables.user_classes, 0).astype(np.int64)  # who is not known comes last
        self._class_factors = np.pad(tables.class_factors, ((0, 0), (0, 1)))
        self._revisit, self._class_revisits = tables.revisit_factors, tables.class_revisits
        self._phase_factors = np.pad(tables.phase_factors, ((0, 0), (0, 1)))
        self._entities = EntitiesInHand(tables)
        self._saved = np.append(tables.saved_ms, 0.0).astype(np.float32)
        self._cost = np.append(tables.cost_ms, 0.0).astype(np.float32)
        self._sizes = np.ceil(np.append(tables.payload_bytes, 0.0))

    def answers(
        self, users: Keys, entities: Keys | None, contexts: Codes, budget: Budget, price: float, phase: int
    ) -> Answers:
        """What to preload at each moment. ValueError where the arrays do not fit, or the price cannot be."""
        check_prices(price)
        _check(users, entities, contexts, self._mini_apps)
        most = self._width + (0 if entities is None else self._entities.most_leads)
        moments, calls = len(users), min(budget.calls, most)
        answers = Answers(
            positions=np.full((moments, calls), NONE, dtype=np.int64),
            probabilities=np.zeros((moments, calls), dtype=np.float32),
            values_ms=np.zeros((moments, calls), dtype=np.float32),
            orders=np.zeros(moments, dtype=np.int64),
            transitions=np.zeros(moments, dtype=np.int64),
            known_users=np.zeros(moments, dtype=np.bool_),
            known_entities=np.zeros(moments, dtype=np.bool_),
        )
        for start in range(0, moments, MOMENTS_AT_ONCE):
            some = slice(start, start + MOMENTS_AT_ONCE)
            in_hand = None if entities is None else entities[some]
            codes = np.ascontiguousarray(contexts[some].T, np.int64)
            self._answer(users[some], in_hand, codes, budget, (price, phase), answers, some)
        return answers

    def _answer(
        self, users: Keys, entities: Keys | None, codes: Ints, budget: Budget, holding: tuple[float, int],
        into: Answers, some: slice,
    ) -> None:  # fmt: skip
        price, phase = holding
        places, into.orders[some] = self._longest_known(codes)
        into.transitions[some] = self._transitions.take(places)
        of_user, into.known_users[some] = self._users.find(users)
        classes = self._user_classes.take(np.where(into.known_users[some], of_user, -1))
        positions = np.ascontiguousarray(self._positions.take(places, axis=0).T, np.int64)
        weights = np.ascontiguousarray(self._probabilities.take(places, axis=0).T)
        factors = np.take(self._class_factors, classes, axis=0)
        if phase != NO_PHASE:
            factors *= self._phase_factors[phase]
        if entities is not None:
            rows, into.known_entities[some] = self._entities.find(entities)
            self._entities.multiply(factors, rows)
        self._replace_revisited(factors, classes, codes)
        weights *= factors.ravel().take(positions + np.arange(len(users)) * factors.shape[1])
        total = weights.sum(axis=0)
        total += self._unlisted.take(places * self._classes + classes)
        weights /= np.where(total > 0.0, total, np.float32(1.0))
        if entities is not None:
            positions, weights = self._entities.lead(positions, weights, rows)
        values = weights * self._saved.take(positions)
        values -= (np.float32(price) * self._cost).take(positions)
        if len(codes):
            values = np.where(positions == codes[0] - 1, np.float32(0.0), values)
        chosen = choose_many(values, positions, self._sizes, budget)
        found, cells = chosen != NONE, np.maximum(chosen, 0) * len(users) + np.arange(len(users))
        calls = slice(len(chosen))
        into.positions[some, calls] = np.where(found, positions.take(cells), NONE).T
        into.probabilities[some, calls] = np.where(found, weights.take(cells), 0.0).T
        into.values_ms[some, calls] = np.where(found, values.take(cells), 0.0).T

    def _longest_known(self, codes: Ints) -> tuple[Ints, Ints]:
        """Position among the contexts, and order, of each moment's longest known suffix."""
        base, moments = self._mini_apps + 1, codes.shape[1]
        usable, digits = np.ones(moments, dtype=np.bool_), np.zeros(moments, dtype=np.int64)
        keys = np.zeros((min(len(codes), LONGEST_CONTEXT) + 1, moments), dtype=np.int64)
        for order in range(1, len(keys)):
            code = codes[order - 1]
            usable = usable & (code >= SESSION_START)
            digits = digits + code * base ** (order - 1)
            keys[order] = np.where(usable, digits + order * base**LONGEST_CONTEXT, 0)
            usable = usable & (code != SESSION_START)
        found, known = self._contexts.find(keys.astype(np.uint64))
        places, orders = np.zeros(moments, dtype=np.int64), np.zeros(moments, dtype=np.int64)
        for order in range(1, len(keys)):
            answers = known[order] & (keys[order] > 0)
            places, orders = np.where(answers, found[order], places), np.where(answers, order, orders)
        return places, orders

    def _replace_revisited(self, factors: Reals, classes: Ints, codes: Ints) -> None:
        """Let revisits take part in (moments, mini_apps + 1) factors: of the current mini-app, nothing else does."""
        visited = np.maximum(codes - 1, 0) + np.arange(len(factors)) * factors.shape[1]
        before, cells = factors.ravel().take(visited), factors.ravel()
        before[:1] = 1.0
        for step in range(len(codes), 0, -1):  # the latest visit counts, so it is written last
            some, row = np.flatnonzero(codes[step - 1] > SESSION_START), bisect_right(STEPS, step) - 1
            revisit = self._revisit[row].take(codes[step - 1, some] - 1)
            revisit *= self._class_revisits[:, row].take(classes[some])
            cells[visited[step - 1, some]] = before[step - 1, some] * revisit


def _check(users: Keys, entities: Keys | None, contexts: Codes, mini_apps: int) -> None:
    if users.dtype != np.uint64 or contexts.dtype.kind not in "iu":
        raise ValueError(f"users must be uint64 and contexts whole numbers, not {users.dtype} and {contexts.dtype}")
    if contexts.ndim != 2 or users.shape != (len(contexts),):
        raise ValueError(f"users (moments,) and contexts (moments, length) are {users.shape} and {contexts.shape}")
    if entities is not None and (entities.dtype != np.uint64 or entities.shape != users.shape):
        raise ValueError(f"entities must be uint64 of shape {users.shape}, not {entities.dtype} of {entities.shape}")
    if contexts.size and int(contexts.max()) > mini_apps:
        raise ValueError(f"contexts hold the code {contexts.max()}, beyond the {mini_apps} mini-apps")
