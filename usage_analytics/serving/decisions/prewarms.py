"""What users fetch ahead of a slot that will be too dear: by class, what they open there though nothing preloads it.

The chances are counted, per slot and class, among the users who were active in the slot. A pre-warm of a mini-app is
worth chance * saved_ms - price * cost_ms, at a price of its own: the lowest at which what all these users fetch still
fits, minute by minute, into what the back end has left. So the users who ask as soon as the slot begins, which most do,
cannot bring about the very peak that they are to avoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from usage_analytics.serving.arrays import Flags, Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget, choose_many
from usage_analytics.serving.decisions.moments import NONE, Moments
from usage_analytics.serving.decisions.prewarming import DayLoad
from usage_analytics.serving.decisions.prices import preload_demand

PRIOR_USERS = 20.0  # so many who do as all users do are added to each class, and to all users so many who open nothing

_MINUTE_US = 60_000_000


@dataclass(frozen=True)
class UserEvents:
    """Events of some users on a trading day, in any order: whose, when, and what was opened that nobody preloaded."""

    user: Ints  # (events,) numbered from 0
    user_class: Ints  # (events,) the same in all events of a user
    since_us: Ints  # (events,) since the trading day's first slot began
    missed: Ints  # (events,) position of the mini-app that was opened and had to be waited for; NONE: nothing was

    @property
    def minute(self) -> Ints:
        """Of the trading day, from 0, negative before: (events,)."""
        return self.since_us // _MINUTE_US


@dataclass(frozen=True)
class Prewarms:
    """What is fetched ahead, by the slots in which it is."""

    slots: Ints  # (prewarms,) rising
    ends: Ints  # (prewarms,) the slot before whose beginning it is to be used
    prices: Floats  # (prewarms,) not below that of the slot
    chances: Floats  # (prewarms, classes, mini_apps) of a user active in the slot; class 0: of all users

    def chosen(self, economics: Economics, budget: Budget) -> Flags:
        """What users of each class fetch: (prewarms, classes, mini_apps)."""
        prices = np.repeat(self.prices, self.chances.shape[1])
        rows = self.chances.reshape(len(prices), len(economics.mini_apps))
        return choose_many(rows, economics, budget, prices).reshape(self.chances.shape)


def no_prewarms(classes: int, mini_apps: int) -> Prewarms:
    """Where nothing is fetched ahead."""
    nowhere = np.empty(0, np.int64)
    return Prewarms(nowhere, nowhere, np.empty(0), np.empty((0, classes, mini_apps)))


def slots_served(load: DayLoad) -> list[tuple[int, Ints]]:
    """The slots that take preloads over, each with the dearer ones within its reach."""
    served = []
    for slot in np.flatnonzero(load.taken_over > 0).tolist():
        ahead = np.arange(slot + 1, min(slot + 1 + load.reach, len(load.price)))
        served.append((slot, ahead[load.price[ahead] > load.price[slot]]))
    return served


def prewarms_of(events: UserEvents, load: DayLoad, economics: Economics, budget: Budget, classes: int) -> Prewarms:
    """What to fetch ahead in each slot that takes preloads over; slots in which that is worth it for nobody are left.

    events: of a sample of users, whatever share of all calls they make. classes: with class 0, of users not known.
    """
    slots, ends, prices = [], [], []
    chances = [no_prewarms(classes, len(economics.mini_apps)).chances]
    for slot, ahead in slots_served(load):
        asking = _users_by_minute(events, slot, load, classes)
        if not asking.any():
            continue
        here = _rounded(chances_of(events, slot, ahead, load.slot_minutes, classes, len(economics.mini_apps)))
        price = _price_that_fits(here, asking, load, slot, economics, budget)
        if choose_many(here, economics, budget, price).any():
            slots.append(slot)
            ends.append(int(ahead[-1]) + 1)
            prices.append(price)
            chances.append(here[None])
    return Prewarms(np.array(slots, np.int64), np.array(ends, np.int64), np.array(prices), np.concatenate(chances))


def chances_of(events: UserEvents, slot: int, ahead: Ints, slot_minutes: int, classes: int, mini_apps: int) -> Floats:
    """Of a user of each class who is active in a slot, that each mini-app is missed in the ones ahead: (classes, apps).

    How often that is does not count: what was fetched ahead serves once. Row 0 is of all users.
    """
    at = events.minute // slot_minutes
    active = np.unique(events.user[at == slot])
    missing = np.isin(at, ahead) & (events.missed != NONE) & np.isin(events.user, active)
    pairs = np.unique(events.user[missing] * mini_apps + events.missed[missing])
    class_of = np.zeros(int(events.user.max(initial=-1)) + 1, np.int64)
    class_of[events.user] = events.user_class
    users = np.bincount(class_of[active], minlength=classes).astype(np.float64)
    cells = class_of[pairs // mini_apps] * mini_apps + pairs % mini_apps
    missed = np.bincount(cells, minlength=classes * mini_apps).reshape(classes, mini_apps).astype(np.float64)
    everyone = missed.sum(axis=0) / (len(active) + PRIOR_USERS)
    chances = (missed + PRIOR_USERS * everyone) / (users[:, None] + PRIOR_USERS)
    chances[0] = everyone
    return np.asarray(chances, np.float64)


def first_in_slot(events: UserEvents, slot: int, slot_minutes: int) -> Ints:
    """Rows of the first event of each user in a slot, at which he asks: (users active there,)."""
    inside = np.flatnonzero(events.minute // slot_minutes == slot)
    inside = inside[np.argsort(events.since_us[inside], kind="stable")]
    _, first = np.unique(events.user[inside], return_index=True)
    return inside[first]


def _users_by_minute(events: UserEvents, slot: int, load: DayLoad, classes: int) -> Floats:
    """How many users of each class are expected to ask in each minute of a slot: (classes, minutes).

    Of the slot's ordinary calls, as many a call as in the sample.
    """
    first = first_in_slot(events, slot, load.slot_minutes)
    begins, minutes = slot * load.slot_minutes, len(load.calls[_minutes(load, slot)])
    cells = events.user_class[first] * minutes + events.minute[first] - begins
    seen = np.bincount(cells, minlength=classes * minutes).reshape(classes, minutes)
    sampled = np.count_nonzero(events.minute // load.slot_minutes == slot)
    return np.asarray(seen * (load.calls[_minutes(load, slot)].sum() / max(sampled, 1)), np.float64)


def _price_that_fits(
    chances: Floats, asking: Floats, load: DayLoad, slot: int, economics: Economics, budget: Budget
) -> float:
    """The lowest price, from that of the slot on, at which no minute gets more than it has left."""
    everyone = Moments(np.full(len(chances), NONE), np.ones(len(chances)))
    price = float(load.price[slot])
    for users, spare in zip(asking.T, load.spare[_minutes(load, slot)], strict=True):
        if users.any():
            demand = preload_demand(chances, everyone, users, economics, budget)
            price = max(price, float(demand.price(np.array([spare / users.sum()]))[0]))
    return price


def _minutes(load: DayLoad, slot: int) -> slice:
    return slice(slot * load.slot_minutes, (slot + 1) * load.slot_minutes)


def _rounded(chances: Floats) -> Floats:
    """As a plan's file holds them, so that none is worth its price there that was not here."""
    return chances.astype(np.float32).astype(np.float64)
