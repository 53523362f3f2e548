"""The user sessions that start in five minutes, and the walk of each from mini-app to mini-app."""

from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.arrivals import arrivals
from usage_analytics.simulation.catalogue import ASSET_CLASSES, PERSONAS
from usage_analytics.simulation.events import (
    EVENT,
    INSTRUMENT_SWITCH,
    NO_EVENTS,
    OPEN,
    WALKED_IN_ALL,
    Events,
    app_traits,
    event_keys,
    follow_up_actions,
    instruments,
    set_costs,
)
from usage_analytics.simulation.market_day import MINUTE_US, ExchangeDay, MarketDay
from usage_analytics.simulation.navigation import DWELL_SPREAD, HOME_HABIT, START, Navigation, navigation
from usage_analytics.simulation.population import PRESENT, Population
from usage_analytics.simulation.randomness import Bits, Flags, Ints, Reals
from usage_analytics.simulation.visits import CLASS_OF_DESK

OWN_CLASS = 0.85  # chance that a user session is about the desk's own asset class
MOST_STEPS = 400
EVENTS_PER_USER_SESSION = np.array([p.events_per_user_session for p in PERSONAS])
USER_SESSIONS_PER_DAY = np.array([p.user_sessions_per_day for p in PERSONAS])


@dataclass(frozen=True)
class UserSessions:
    """One row per user session, longest first."""

    key: Bits  # identifies it; all that happens in it is drawn from this
    user: Ints
    persona: Ints
    phase: Ints
    start_us: Ints
    length: Ints  # events


class Walks:
    """Gives the walks of some of a population's users on one day, five minutes at a time."""

    def __init__(self, everyone: Population, users: Ints, market: MarketDay, sessions_scale: float) -> None:
        self._everyone, self._users, self._market = everyone, users, market
        self._navigation = navigation(everyone.scenario.seed)
        self._persona = everyone.persona(market.day)[users]
        rate = USER_SESSIONS_PER_DAY[self._persona] * everyone.activity[users] * sessions_scale
        self._rate = rate * everyone.present(market.day)[users]
        self._exchange = everyone.exchange[users]

    def starting(self, first_minute: int) -> Events:
        """The events of all user sessions that start in the five minutes from then, however long they last."""
        parts = [NO_EVENTS]
        for exchange in self._market.exchanges:
            sessions = self._sessions(exchange, exchange.of_slice(first_minute), first_minute)
            if len(sessions.key):
                parts.append(walk(self._everyone, self._navigation, sessions))
        return np.concatenate(parts)

    def _sessions(self, exchange: ExchangeDay, minutes: slice, first_minute: int) -> UserSessions:
        here = self._rate * (self._exchange == self._everyone.scenario.exchanges.index(exchange.exchange))
        at = (self._market.day.toordinal(), first_minute)
        begun = arrivals(self._stream("user sessions"), at, self._users, here, exchange.starts[minutes])
        minute = minutes.start + begun.cell
        start_us = (exchange.first_minute + minute) * MINUTE_US
        start_us += (self._chance("second", begun.key) * MINUTE_US).astype(np.int64)
        persona = self._persona[begun.row]
        mean = EVENTS_PER_USER_SESSION[persona]
        length = 1 + np.floor(np.log1p(-self._chance("length", begun.key)) / np.log1p(-1 / mean)).astype(np.int64)
        length = np.minimum(length, MOST_STEPS)
        order = np.argsort(-length, kind="stable")
        return UserSessions(
            key=begun.key[order],
            user=begun.user[order],
            persona=persona[order],
            phase=exchange.phases[minute[order]],
            start_us=start_us[order],
            length=length[order],
        )

    def _stream(self, purpose: str) -> np.uint64:
        return self._everyone.stream(purpose)

    def _chance(self, purpose: str, key: Bits) -> Reals:
        return randomness.uniform(self._stream(purpose), key)


def walk(everyone: Population, planted: Navigation, sessions: UserSessions) -> Events:
    """The events of user sessions, by step and then session; ``arrival_us`` and ``trouble`` are left at 0."""
    stream = everyone.stream
    asset_class = _asset_classes(everyone, sessions)
    active = np.searchsorted(-sessions.length, -np.arange(1, sessions.length[0] + 1), side="right")
    session = np.concatenate([np.arange(count) for count in active])
    steps = np.repeat(np.arange(len(active)), active)
    keys = event_keys(sessions.key[session], steps)
    drawn = instruments(asset_class[session], randomness.uniform(stream("instrument"), keys))
    switches = (randomness.uniform(stream("instrument switch"), keys) < INSTRUMENT_SWITCH) | (steps == 0)
    in_hand = _kept(active, drawn, switches)
    of_step = randomness.bits(stream("next mini-app"), np.arange(len(active)))
    chances = np.split(randomness.uniform(of_step[steps], sessions.key[session]), np.cumsum(active)[:-1])
    apps = [_first_apps(everyone, planted, sessions)]
    before_last = np.full(len(sessions.key), START)
    for count, held, chance in zip(active[1:], in_hand[:-1], chances[1:], strict=True):
        last, context = apps[-1][:count], (sessions.persona[:count], asset_class[:count])
        apps.append(planted.next(*context, before_last[:count], last, held[:count], chance))
        before_last = last
    app = np.concatenate(apps)

    events = np.zeros(len(app), EVENT)
    events["session"], events["step"], events["user"] = sessions.key[session], steps, sessions.user[session]
    events["app"] = WALKED_IN_ALL[app]
    noise = DWELL_SPREAD * randomness.normal(stream("dwell"), keys)
    dwell_us = (planted.dwell_s[sessions.persona[session], app] * np.exp(noise) * 1e6).astype(np.int64)
    events["time_us"] = _carried(active, sessions.start_us, dwell_us)
    same = np.concatenate([np.zeros(active[0], bool), *(b == a[: len(b)] for a, b in pairwise(apps))])
    events["action"] = np.where(same, follow_up_actions(everyone.scenario.seed, keys), OPEN)
    events["instrument"] = np.concatenate(in_hand)
    set_costs(events, app_traits(everyone.scenario.seed, everyone.scenario.spread), everyone.scenario.seed, keys)
    return events


def expected_sessions_scale(everyone: Population, walked_messages: float, day: date) -> float:
    """What the personas' rates are multiplied by, so that an ordinary day has so many walked messages."""
    persona = everyone.persona(day)
    each = everyone.activity * USER_SESSIONS_PER_DAY[persona] * EVENTS_PER_USER_SESSION[persona]
    return walked_messages / float(each[~everyone.is_bot].sum() * PRESENT)


def _asset_classes(everyone: Population, sessions: UserSessions) -> Ints:
    own = CLASS_OF_DESK[everyone.desk[sessions.user]]
    chance = randomness.uniform(everyone.stream("asset class"), sessions.key)
    other = (own + 1 + (chance / (1 - OWN_CLASS) * (len(ASSET_CLASSES) - 1)).astype(np.int64)) % len(ASSET_CLASSES)
    return np.where(chance < 1 - OWN_CLASS, other, own)


def _first_apps(everyone: Population, planted: Navigation, sessions: UserSessions) -> Ints:
    ladders = np.cumsum(planted.first, axis=-1)[sessions.persona, sessions.phase, :-1]
    chance = randomness.uniform(everyone.stream("first mini-app"), sessions.key)
    by_phase = (chance[:, None] >= ladders).sum(axis=1)
    at_home = randomness.uniform(everyone.stream("starts at home"), sessions.key) < HOME_HABIT
    return np.where(at_home, everyone.favourite[sessions.user], by_phase)


def _carried(active: Ints, start: Ints, increments: Ints) -> Ints:
    """Running sums along each session of arrays that are ordered by step and then session."""
    at, low = [start], 0
    for count, following in pairwise(active):
        at.append(at[-1][:following] + increments[low : low + following])
        low += count
    return np.concatenate(at)


def _kept(active: Ints, drawn: Ints, switches: Flags) -> list[Ints]:
    """At each step, the value drawn at each session's last switch."""
    kept: list[Ints] = []
    low = 0
    for count in active:
        new, switch = drawn[low : low + count], switches[low : low + count]
        kept.append(new if not kept else np.where(switch, new, kept[-1][:count]))
        low += count
    return kept
