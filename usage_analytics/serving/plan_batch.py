"""The look-up for many moments at once, over numpy arrays; the same rule as `PreloadPlan.next`, to the letter.

Arrays of candidates are (candidates, moments): one step after another goes over all moments, which lie side by side.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.transition_counts import LONGEST_CONTEXT, SESSION_START
from usage_analytics.serving.choosing import NONE, choose_many
from usage_analytics.serving.decisions import Budget
from usage_analytics.serving.key_index import KeyIndex
from usage_analytics.serving.plan_tables import STEPS, PlanTables

Codes = npt.NDArray[np.integer]
UserKeys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MOMENTS_AT_ONCE = 8192  # the fewer at once, the more the steps themselves cost; the more, the farther the caches


@dataclass(frozen=True)
class Answers:
    """One row per moment; along the second axis the mini-apps to preload, best first."""

    positions: Ints  # (moments, calls); -1: nothing more is worth it
    probabilities: Floats  # (moments, calls); 0 there
    values_ms: Floats  # (moments, calls); 0 there
    orders: Ints  # (moments,) how many mini-apps the context has that answered
    transitions: Ints  # (moments,) seen after that context
    known_users: npt.NDArray[np.bool_]  # (moments,)


class BatchLookup:
    """A plan's arrays as the batch needs them; a user who is not known has the row after the last."""

    def __init__(self, tables: PlanTables) -> None:
        self._mini_apps, self._transitions = len(tables.mini_apps), tables.transitions
        self._contexts, self._users = KeyIndex(tables.context_keys), KeyIndex(tables.user_keys)
        count = _lists(tables.context_starts)[1]
        self._width = max(int(count.max()), 1)
        # Contexts that list fewer candidates than others list mini-app 0 too, at probability 0.
        listed = np.arange(self._width) < count[:, None]
        self._positions = np.zeros(listed.shape, dtype=np.uint16)
        self._positions[listed] = tables.entry_positions
        self._probabilities = np.zeros(listed.shape, dtype=np.float32)
        self._probabilities[listed] = tables.entry_probabilities
        self._unlisted = np.maximum(1.0 - self._probabilities.sum(axis=1, dtype=np.float64), 0.0).astype(np.float32)
        self._user_first, self._user_count = (np.append(each, 0) for each in _lists(tables.user_starts))
        self._user_positions, self._user_factors = tables.user_positions, tables.user_factors.astype(np.float32)
        self._other = np.append(tables.user_other_factors, np.float32(1.0))
        self._revisit = tables.revisit_factors
        self._saved, self._cost = tables.saved_ms.astype(np.float32), tables.cost_ms.astype(np.float32)
        self._sizes = np.ceil(tables.payload_bytes)

    def answers(self, users: UserKeys, contexts: Codes, budget: Budget, price: float) -> Answers:
        """What to preload at each moment. ValueError where the arrays do not fit each other or the plan."""
        _check(users, contexts, self._mini_apps)
        moments, calls = len(users), min(budget.calls, self._width)
        answers = Answers(
            positions=np.full((moments, calls), NONE, dtype=np.int64),
            probabilities=np.zeros((moments, calls), dtype=np.float32),
            values_ms=np.zeros((moments, calls), dtype=np.float32),
            orders=np.zeros(moments, dtype=np.int64),
            transitions=np.zeros(moments, dtype=np.int64),
            known_users=np.zeros(moments, dtype=np.bool_),
        )
        for start in range(0, moments, MOMENTS_AT_ONCE):
            some = slice(start, start + MOMENTS_AT_ONCE)
            self._answer(users[some], np.ascontiguousarray(contexts[some].T, np.int64), budget, price, answers, some)
        return answers

    def _answer(self, users: UserKeys, codes: Ints, budget: Budget, price: float, into: Answers, some: slice) -> None:
        places, into.orders[some] = self._longest_known(codes)
        rows, into.known_users[some] = self._user_rows(users)
        into.transitions[some] = self._transitions.take(places)
        positions = np.ascontiguousarray(self._positions.take(places, axis=0).T, np.int64)
        weights = np.ascontiguousarray(self._probabilities.take(places, axis=0).T)
        weights *= self._factors(rows, codes).take(positions + np.arange(len(users)) * self._mini_apps)
        total = weights.sum(axis=0)
        total += self._unlisted.take(places) * self._other.take(rows)
        weights /= np.where(total > 0.0, total, np.float32(1.0))
        values = weights * self._saved.take(positions)
        values -= (np.float32(price) * self._cost).take(positions)
        if len(codes):
            values = np.where(positions == codes[0] - 1, np.float32(0.0), values)
        chosen = choose_many(values, positions, self._sizes, budget)
        found, cells = chosen != NONE, np.maximum(chosen, 0) * len(users) + np.arange(len(users))
        into.positions[some] = np.where(found, positions.take(cells), NONE).T
        into.probabilities[some] = np.where(found, weights.take(cells), 0.0).T
        into.values_ms[some] = np.where(found, values.take(cells), 0.0).T

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

    def _user_rows(self, users: UserKeys) -> tuple[Ints, npt.NDArray[np.bool_]]:
        found, known = self._users.find(users)
        return np.where(known, found, len(self._other) - 1), known

    def _factors(self, rows: Ints, codes: Ints) -> npt.NDArray[np.float32]:
        """What each moment's probabilities are multiplied by: (moments * mini_apps,)."""
        moments = len(rows)
        factors = np.empty((moments, self._mini_apps), dtype=np.float32)
        factors[:] = self._other.take(rows)[:, None]
        cells = factors.ravel()
        counts = self._user_count.take(rows)
        ends = np.cumsum(counts)
        entries = np.arange(int(ends[-1])) + np.repeat(self._user_first.take(rows) - ends + counts, counts)
        cells[np.repeat(np.arange(moments) * self._mini_apps, counts) + self._user_positions.take(entries)] = (
            self._user_factors.take(entries)
        )
        visited = np.maximum(codes - 1, 0) + np.arange(moments) * self._mini_apps
        before = cells.take(visited)
        for step in range(len(codes), 0, -1):  # the latest visit counts, so it is written last
            some = np.flatnonzero(codes[step - 1] > SESSION_START)
            revisit = self._revisit[bisect_right(STEPS, step) - 1].take(codes[step - 1, some] - 1)
            cells[visited[step - 1, some]] = before[step - 1, some] * revisit
        return cells


def _check(users: UserKeys, contexts: Codes, mini_apps: int) -> None:
    if users.dtype != np.uint64 or contexts.dtype.kind not in "iu":
        raise ValueError(f"users must be uint64 and contexts whole numbers, not {users.dtype} and {contexts.dtype}")
    if contexts.ndim != 2 or users.shape != (len(contexts),):
        raise ValueError(f"users (moments,) and contexts (moments, length) are {users.shape} and {contexts.shape}")
    if contexts.size and int(contexts.max()) > mini_apps:
        raise ValueError(f"contexts hold the code {contexts.max()}, beyond the {mini_apps} mini-apps")


def _lists(starts: npt.NDArray[np.generic]) -> tuple[Ints, Ints]:
    wide = starts.astype(np.int64)
    return wide[:-1], np.diff(wide)
