"""Scripted clients: they act at fixed intervals all day, round and round the same mini-apps."""

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import ASSET_CLASSES, INSTRUMENTS_PER_CLASS, WALKED
from usage_analytics.simulation.events import (
    EVENT,
    NO_EVENTS,
    OPEN,
    WALKED_IN_ALL,
    Events,
    app_traits,
    event_keys,
    set_costs,
)
from usage_analytics.simulation.market_day import MINUTE_US, SLICE_MINUTES, ExchangeDay, MarketDay
from usage_analytics.simulation.population import Population
from usage_analytics.simulation.randomness import Ints

ROUND = 3  # mini-apps that a bot goes round


class Bots:
    """The bots among some users on one day, given out five minutes at a time."""

    def __init__(self, everyone: Population, users: Ints, market: MarketDay) -> None:
        self._everyone, self._market = everyone, market
        hours = {everyone.scenario.exchanges.index(exchange.exchange): exchange for exchange in market.exchanges}
        # Each works when the exchange of its firm does.
        bots = users[everyone.is_bot[users]]
        self._hours = {int(bot): hours[int(e)] for bot in bots if (e := everyone.exchange[bot]) in hours}

    def starting(self, first_minute: int) -> Events:
        """What the bots do in the five minutes from then."""
        return np.concatenate([NO_EVENTS, *(self._of(bot, first_minute) for bot in self._hours)])

    def _of(self, bot: int, first_minute: int) -> Events:
        source, day = self._everyone.stream("bot"), self._market.day.toordinal()
        hours, scenario = self._hours[bot], self._everyone.scenario
        opens_us, span_us = hours.first_minute * MINUTE_US, len(hours.starts) * MINUTE_US
        period = period_us(self._everyone, hours)
        begin = int(opens_us + randomness.uniform(source, 0, bot) * period)
        low_us, high_us = first_minute * MINUTE_US, (first_minute + SLICE_MINUTES) * MINUTE_US
        high_us = min(high_us, opens_us + span_us)
        steps = np.arange(max(0, -(-(low_us - begin) // period)), -(-(high_us - begin) // period))
        events = np.zeros(len(steps), EVENT)
        if not len(steps):
            return events
        key = randomness.bits(source, 1, bot, day)
        events["session"], events["step"], events["user"] = key, steps, bot
        walked = (randomness.uniform(source, 2, bot, np.arange(ROUND)) * len(WALKED)).astype(np.int64)
        events["app"] = WALKED_IN_ALL[walked[steps % ROUND]]
        events["action"] = OPEN
        instruments = len(ASSET_CLASSES) * INSTRUMENTS_PER_CLASS
        events["instrument"] = int(randomness.uniform(source, 3, bot) * instruments)
        events["time_us"] = begin + steps * period
        keys = event_keys(np.repeat(key, len(steps)), steps)
        set_costs(events, app_traits(scenario.seed, scenario.spread), scenario.seed, keys)
        return events


def period_us(everyone: Population, hours: ExchangeDay) -> int:
    """How long each bot waits until it acts again: so that all have their share of as busy a day as this one."""
    scenario = everyone.scenario
    wanted = scenario.trouble.bots * scenario.messages_per_day * hours.starts.sum() / everyone.is_bot.sum()
    return max(1, int(len(hours.starts) * MINUTE_US / wanted))
