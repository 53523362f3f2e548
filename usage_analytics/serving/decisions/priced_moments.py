"""Moments of a trading day at the prices that hold then, and the openings that `next` leaves to be waited for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from usage_analytics.models.branching.sequence_model import SequenceModel
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch
from usage_analytics.serving.arrays import Flags, Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import USUAL_PRICE, Budget, choose_many
from usage_analytics.serving.decisions.moments import NONE, KnownMoments
from usage_analytics.serving.decisions.prewarms import UserEvents
from usage_analytics.serving.decisions.session_moments import moments_in

_MINUTE_US = 60_000_000


@dataclass(frozen=True)
class PricedDay:
    """The slots of a trading day, and the price of preloads in each; the usual one holds before and after them."""

    began_us: int  # the first slot, in epoch microseconds
    slot_minutes: int
    prices: Floats  # (slots,)

    def slots(self, times_us: Ints) -> Ints:
        """The slot of each instant, NONE outside of all."""
        slots = (times_us - self.began_us) // (self.slot_minutes * _MINUTE_US)
        return np.where((slots >= 0) & (slots < len(self.prices)), slots, NONE)

    def prices_at(self, times_us: Ints) -> Floats:
        """The price at each instant."""
        slots = self.slots(times_us)
        return np.where(slots == NONE, USUAL_PRICE, self.prices[slots])


def priced_moments(batch: SessionBatch, probabilities: Floats, day: PricedDay) -> KnownMoments:
    """As `moments_in`, each at the price of when the look-up is asked: as the mini-app before is opened."""
    known = moments_in(batch, probabilities)
    asked_us = batch.times_us[batch.sessions.predicted() - 1]
    return replace(known, moments=replace(known.moments, price=day.prices_at(asked_us)))


def missed_openings(
    model: SequenceModel,
    batches: Iterable[SessionBatch],
    day: PricedDay,
    economics: Economics,
    budget: Budget,
    slots: Flags | None = None,
) -> UserEvents:
    """All events of the users, and which openings `next` would not have preloaded at the price that held.

    The first event of a user session is such an opening: before it nobody asks. slots: (slots,) the events of which are
    asked for; all by default. Sessions without one of these are left out: most of the day need not be predicted.
    """
    names, lengths, events = [], [], []
    for batch in batches:
        asked = batch if slots is None else _reaching(batch, day, slots)
        if len(asked.sessions):
            names.append(asked.user_ids)
            lengths.append(asked.sessions.lengths())
            events.append((np.repeat(asked.sessions.user_classes, lengths[-1]), asked.times_us,
                           _missed(model, asked, day, economics, budget)))  # fmt: skip
    if not events:
        return UserEvents(*(np.empty(0, np.int64) for _ in range(4)))
    of_sessions = pa.chunked_array(names).combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    classes, times_us, missed = (np.concatenate(each) for each in zip(*events, strict=True))
    return UserEvents(np.repeat(of_sessions, np.concatenate(lengths)), classes, times_us - day.began_us, missed)


def _missed(model: SequenceModel, batch: SessionBatch, day: PricedDay, economics: Economics, budget: Budget) -> Ints:
    """Position of the mini-app that each event opened and nobody had preloaded; NONE: nothing was, or it was open."""
    known = priced_moments(batch, model.probabilities(batch.sessions), day)
    current, following = known.moments.current, known.transitions.next
    able = known.moments.without_current(known.probabilities)
    preloaded = choose_many(able, economics, budget, known.moments.price)
    waits = (following != NONE) & (following != current) & ~preloaded[np.arange(len(following)), following]
    missed = np.maximum(batch.sessions.codes - 1, NONE)
    missed[batch.sessions.predicted()] = np.where(waits, following, NONE)
    return missed


def _reaching(batch: SessionBatch, day: PricedDay, slots: Flags) -> SessionBatch:
    """The user sessions with an event in these slots."""
    sessions, at = batch.sessions, day.slots(batch.times_us)
    events = (at != NONE) & slots[at]
    wanted = np.logical_or.reduceat(events, sessions.starts[:-1]) if len(sessions) else np.empty(0, np.bool_)
    return batch.chosen(wanted)
