"""Short errands to the tools of `catalogue.TOOLS`: who uses which on a day is drawn from a Bayesian network."""

from datetime import date

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import ADOPTED, CHURNED, DAILY_NETWORK, MINI_APPS, TOOLS
from usage_analytics.simulation.events import NO_EVENTS, Events
from usage_analytics.simulation.market_day import MINUTE_US, SLICE_MINUTES, MarketDay
from usage_analytics.simulation.population import PRESENT, Population
from usage_analytics.simulation.randomness import Flags, Ints, Reals
from usage_analytics.simulation.visits import EVENTS_PER_VISIT, visits

ADOPTED_USE, CHURNED_USE = 0.4, 0.35  # chance on a day, for those who have taken it up, or not yet given it up
TOOLS_IN_ALL = np.array([MINI_APPS.index(tool) for tool in TOOLS])


def tools_used(everyone: Population, users: Ints, day: date) -> Flags:
    """Users x `TOOLS`: what each uses on a day; nothing, where the user does not work."""
    return _tools_of_day(everyone, users, day) & everyone.present(day)[users, None]


def expected_messages(everyone: Population, day: date) -> float:
    """How many messages errands would give, about, if all exchanges traded on a day."""
    humans = np.flatnonzero(~everyone.is_bot)
    return float(_tools_of_day(everyone, humans, day).sum()) * PRESENT * EVENTS_PER_VISIT


def _tools_of_day(everyone: Population, users: Ints, day: date) -> Flags:
    used: dict[str, Flags] = {}
    for tool, (rate, parents) in DAILY_NETWORK.items():
        logit = np.full(len(users), np.log(rate / (1 - rate)))
        for parent, boost in parents.items():
            logit += boost * used[parent]
        used[tool] = _chance(everyone, tool, users, day) < 1 / (1 + np.exp(-logit))
    story_day = everyone.story_day(day)
    adopted, kept = everyone.adoption_day[users] <= story_day, story_day < everyone.churn_day[users]
    used[ADOPTED] = (_chance(everyone, ADOPTED, users, day) < ADOPTED_USE) & adopted
    used[CHURNED] = (_chance(everyone, CHURNED, users, day) < CHURNED_USE) & kept
    return np.stack([used[tool] for tool in TOOLS], axis=1)


class Errands:
    """All errands of some users on one day, given out five minutes at a time."""

    def __init__(self, everyone: Population, users: Ints, market: MarketDay) -> None:
        events = _errands(everyone, users, market)
        begins = events["time_us"][np.maximum.accumulate(np.where(events["step"] == 0, np.arange(len(events)), 0))]
        order = np.argsort(begins, kind="stable")
        self._events, self._begins = events[order], begins[order]

    def starting(self, first_minute: int) -> Events:
        """The events of errands that start in the five minutes from then."""
        ends = np.array([first_minute, first_minute + SLICE_MINUTES]) * MINUTE_US
        low, high = np.searchsorted(self._begins, ends)
        return self._events[low:high].copy()


def _errands(everyone: Population, users: Ints, market: MarketDay) -> Events:
    rows, tool = np.nonzero(tools_used(everyone, users, market.day))
    user = users[rows]
    parts = [NO_EVENTS]
    for exchange in market.exchanges:
        position = everyone.scenario.exchanges.index(exchange.exchange)
        mine = everyone.exchange[user] == position
        parts.append(_of_exchange(everyone, user[mine], tool[mine], market.day, exchange.first_minute, exchange.starts))
    return np.concatenate(parts)


def _of_exchange(everyone: Population, user: Ints, tool: Ints, day: date, first_minute: int, starts: Reals) -> Events:
    key = randomness.bits(everyone.stream("errand"), day.toordinal(), tool, user)
    chance = randomness.uniform(everyone.stream("errand minute"), key)
    minute = first_minute + randomness.choice(np.cumsum(starts) / starts.sum(), chance)
    return visits(everyone, key, user, TOOLS_IN_ALL[tool], minute)


def _chance(everyone: Population, tool: str, users: Ints, day: date) -> Reals:
    return randomness.uniform(everyone.stream(f"uses {tool}"), day.toordinal(), users)
