"""What preloads and pre-warms would have brought on a trading day held out, and what the back end would have got."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np

from usage_analytics.models.branching.sequence_model import SequenceModel
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch
from usage_analytics.serving.arrays import Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget, choose_many
from usage_analytics.serving.decisions.moments import NONE
from usage_analytics.serving.decisions.prewarms import Prewarms, UserEvents, first_in_slot
from usage_analytics.serving.decisions.priced_moments import PricedDay, priced_moments

_MINUTE_US = 60_000_000


@dataclass(frozen=True)
class ByMinute:
    """Sums over each minute of the slots, and over all time before and after, which comes last: (minutes + 1,)."""

    calls: Floats  # preloads, as they are made
    cost_ms: Floats
    hits: Floats  # those that are used, as their mini-apps are opened
    saved_ms: Floats

    def __add__(self, other: ByMinute) -> ByMinute:
        return ByMinute(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    @property
    def net_ms(self) -> float:
        """Waiting saved, less what it cost."""
        return float((self.saved_ms - self.cost_ms).sum())


def usage_by_minute(batches: Iterable[SessionBatch], day: PricedDay, economics: Economics) -> tuple[Floats, Floats]:
    """Events of each minute, and what users waited for in them, in milliseconds, without preloads."""
    minutes = len(day.prices) * day.slot_minutes + 1
    events, waiting = np.zeros(minutes), np.zeros(minutes)
    for batch in batches:
        codes, minute = batch.sessions.codes, _minutes(batch.times_us - day.began_us, day)
        stays = np.append(False, codes[1:] == codes[:-1])
        stays[batch.sessions.starts[:-1]] = False
        opens = (codes > 0) & ~stays
        events += np.bincount(minute, minlength=minutes)
        waiting += np.bincount(minute[opens], economics.saved_ms[codes[opens] - 1], minutes)
    return events, waiting


def replay_preloads(
    model: SequenceModel,
    batches: Iterable[SessionBatch],
    day: PricedDay,
    economics: Economics,
    budget: Budget,
    charged: PricedDay | None = None,
) -> ByMinute:
    """What `next` would have preloaded.

    day: whose prices decide. charged: whose prices preloads cost; the same by default.
    """
    total = _nothing(day)
    for batch in batches:
        known = priced_moments(batch, model.probabilities(batch.sessions), day)
        opened = batch.sessions.predicted()
        asked_us, opened_us = batch.times_us[opened - 1], batch.times_us[opened]
        able = known.moments.without_current(known.probabilities)
        preloaded = choose_many(able, economics, budget, known.moments.price)
        stakes = known.stakes(economics)
        cost_ms = (charged or day).prices_at(asked_us) * (preloaded @ economics.cost_ms)
        hits, saved_ms = ((preloaded * each).sum(axis=1) for each in (stakes.opened, stakes.saved_ms))
        made = _by_minute(asked_us - day.began_us, (preloaded.sum(axis=1), cost_ms), day)
        total += ByMinute(*made, *_by_minute(opened_us - day.began_us, (hits, saved_ms), day))
    return total


def replay_prewarms(
    events: UserEvents, prewarms: Prewarms, day: PricedDay, economics: Economics, budget: Budget
) -> ByMinute:
    """What users would have fetched ahead as they were first active in a slot.

    It serves the first opening after it that `next` has left to be waited for, until the last slot that it is for.
    """
    total = _nothing(day)
    chosen = prewarms.chosen(economics, budget)
    for row, (slot, end, price) in enumerate(zip(prewarms.slots, prewarms.ends, prewarms.prices, strict=True)):
        first = first_in_slot(events, int(slot), day.slot_minutes)
        fetched = chosen[row, events.user_class[first]]
        passed_us = _until_missed(events, first, int(end) * day.slot_minutes * _MINUTE_US, len(economics.mini_apps))
        user, app = np.nonzero(fetched & (passed_us >= 0))
        saved_ms = np.minimum(passed_us[user, app] / 1e3, economics.saved_ms[app])
        made = (fetched.sum(axis=1), price * (fetched @ economics.cost_ms))
        used_us = events.since_us[first][user] + passed_us[user, app]
        used = (np.ones(len(user)), saved_ms)
        total += ByMinute(*_by_minute(events.since_us[first], made, day), *_by_minute(used_us, used, day))
    return total


def _until_missed(events: UserEvents, first: Ints, end_us: int, mini_apps: int) -> Ints:
    """Time from each user's event until each mini-app is missed: (users, mini_apps); NONE if not before the end."""
    row = np.full(int(events.user.max(initial=-1)) + 1, NONE)
    row[events.user[first]] = np.arange(len(first))
    since_us = events.since_us - np.append(events.since_us[first], 0)[row[events.user]]
    later = (events.missed != NONE) & (row[events.user] != NONE) & (since_us > 0) & (events.since_us < end_us)
    never = np.iinfo(np.int64).max
    passed = np.full((len(first), mini_apps), never)
    np.minimum.at(passed, (row[events.user[later]], events.missed[later]), since_us[later])
    return np.where(passed == never, NONE, passed)


def _minutes(since_us: Ints, day: PricedDay) -> Ints:
    minutes, last = since_us // _MINUTE_US, len(day.prices) * day.slot_minutes
    return np.where((minutes >= 0) & (minutes < last), minutes, last)


def _by_minute(since_us: Ints, sums: Iterable[Floats], day: PricedDay) -> list[Floats]:
    minutes, last = _minutes(since_us, day), len(day.prices) * day.slot_minutes
    return [np.bincount(minutes, each, last + 1).astype(np.float64) for each in sums]


def _nothing(day: PricedDay) -> ByMinute:
    return ByMinute(*(np.zeros(len(day.prices) * day.slot_minutes + 1) for _ in range(4)))
