"""What a preload plan would have brought on a later day: its own answers, asked for as look-ups are.

A plan knows less than its model: it lists a few mini-apps of each context, and contexts that were seen often.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.session_file import common_entities
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, Known, SessionBatch, read_sessions
from usage_analytics.models.branching.users.user_classes import user_keys
from usage_analytics.serving.arrays import Flags, Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import USUAL_PRICE
from usage_analytics.serving.decisions.moments import NONE, Moments
from usage_analytics.serving.decisions.session_moments import moments_in
from usage_analytics.serving.judging.replay import Outcome, settle
from usage_analytics.serving.plan.key_index import Keys
from usage_analytics.serving.plan.scope import MOST_ASKED
from usage_analytics.serving.plan.tables import entity_key, holding_at
from usage_analytics.serving.preload_plan import PreloadPlan

AT_PRICE_1, AS_SERVED = "the plan at price 1", "the plan as served"
MOMENTS_AT_ONCE = 8_192
MOST_CODES = 2**22  # of contexts at once: 34 MB
MINUTE_US = 60_000_000
EVERY_ENTITY = 10**9


def replay_file(plan: PreloadPlan, sessions: Path, economics: Economics, most: int) -> dict[str, Outcome]:
    """As `replay_plan`, of a file of user sessions."""
    known = tuple(name for name in common_entities(sessions, EVERY_ENTITY, 1) if name and plan.knows_entity(name))
    batches = read_sessions([sessions], plan.tables.mini_apps, range(FOLDS), Known(known))
    return replay_plan(plan, batches, known, economics, most)


def replay_plan(
    plan: PreloadPlan, batches: Iterable[SessionBatch], entities: Sequence[str], economics: Economics, most: int
) -> dict[str, Outcome]:
    """What the plan brings at the first so many moments of user sessions, by name of the way it is asked.

    AS_SERVED at the price of its time, as look-ups are answered, by which its cost is settled too; AT_PRICE_1 at that,
    as a model is judged. Users, contexts, what is in hand and the phase of the trading day are as they were in both.
    The sessions are coded by the plan's mini-apps, of which the
    economics are, and by these entities.
    """
    of_entities = np.array([0, *map(entity_key, entities)], np.uint64)
    outcomes, left = {AT_PRICE_1: Outcome(), AS_SERVED: Outcome()}, most
    for batch in batches:
        for piece in _pieces(batch):
            seen = moments_in(piece, _nothing_expected(piece.sessions, plan)).part(0, left)
            asked = _Asked(plan, piece, of_entities, len(seen.moments))
            outcomes[AT_PRICE_1] += settle(asked.at_price_1(), seen, economics)
            at_prices = replace(seen, moments=Moments(seen.moments.current, asked.prices))
            outcomes[AS_SERVED] += settle(asked.as_served(), at_prices, economics)
            left -= len(seen.moments)
            if not left:
                return outcomes
    return outcomes


class _Asked:
    """The first so many moments of some user sessions, as a plan is asked about them."""

    def __init__(self, plan: PreloadPlan, piece: SessionBatch, of_entities: Keys, moments: int) -> None:
        sessions = piece.sessions
        self._plan = plan
        self._users = user_keys(piece.user_ids)[sessions.sessions_of_predictions()][:moments]
        self._entities = of_entities[sessions.in_hand()][:moments]
        self._contexts = sessions.contexts(_longest(sessions))[:moments]
        before = sessions.predicted()[:moments] - 1
        self._minutes = piece.times_us[before] // MINUTE_US
        distinct, self._rows = np.unique(self._minutes, return_inverse=True)
        self._holding = np.array([holding_at(plan.tables, _instant(minute)) for minute in distinct])
        self.prices: Floats = self._holding[self._rows, 0]

    def at_price_1(self) -> Flags:
        """Whether each mini-app is preloaded: (moments, mini_apps)."""
        return self._by(self._holding[:, 1:], USUAL_PRICE)

    def as_served(self) -> Flags:
        """The same, at the price of each moment's time."""
        return self._by(self._holding, None)

    def _by(self, holding: Floats, price: float | None) -> Flags:
        """Asked at once where the same holds."""
        preloaded = np.zeros((len(self._users), len(self._plan.tables.mini_apps)), np.bool_)
        kinds = np.unique(holding, axis=0, return_inverse=True)[1].ravel()[self._rows]
        for kind in np.unique(kinds):
            some = np.flatnonzero(kinds == kind)
            preloaded[some] = self._preloaded(some, _instant(self._minutes[some[0]]), price)
        return preloaded

    def _preloaded(self, some: Ints, at: datetime, price: float | None) -> Flags:
        asked = self._users[some], self._contexts[some], None, at, self._entities[some]
        answers = self._plan.next_many(*asked, price=price)
        preloaded = np.zeros((len(some), len(self._plan.tables.mini_apps)), np.bool_)
        moments, calls = np.nonzero(answers.positions != NONE)
        preloaded[moments, answers.positions[moments, calls]] = True
        return preloaded


def _pieces(batch: SessionBatch) -> Iterator[SessionBatch]:
    """The user sessions, in order, a few at a time: contexts are as wide as the longest of them."""
    start, predictions, longest = 0, 0, 0
    for at, length in enumerate(batch.sessions.lengths().tolist()):
        widest = max(longest, min(length - 1, MOST_ASKED))
        full = predictions + length - 1 > MOMENTS_AT_ONCE or (predictions + length - 1) * widest > MOST_CODES
        if predictions and full:
            yield batch.chosen(_between(batch, start, at))
            start, predictions, widest = at, 0, min(length - 1, MOST_ASKED)
        predictions, longest = predictions + length - 1, widest
    if predictions:
        yield batch.chosen(_between(batch, start, len(batch.sessions)))


def _between(batch: SessionBatch, start: int, end: int) -> Flags:
    numbers = np.arange(len(batch.sessions))
    return (numbers >= start) & (numbers < end)


def _longest(sessions: CodedSessions) -> int:
    return max(1, min(int(sessions.lengths().max()) - 1, MOST_ASKED))


def _nothing_expected(sessions: CodedSessions, plan: PreloadPlan) -> Floats:
    moments = len(sessions.codes) - len(sessions)
    return np.broadcast_to(np.zeros(1), (moments, len(plan.tables.mini_apps)))


def _instant(minute: np.int64) -> datetime:
    return datetime.fromtimestamp(int(minute) * 60, UTC)
