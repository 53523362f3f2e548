"""Short visits of users whom a notice brings to a mini-app: in waves, of which one mini-app's follow another's."""

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.arrivals import arrivals
from usage_analytics.simulation.catalogue import LEAD_LAGS, MINI_APPS, LeadLag
from usage_analytics.simulation.events import NO_EVENTS, Events
from usage_analytics.simulation.market_day import ExchangeDay, MarketDay
from usage_analytics.simulation.population import PRESENT, Population
from usage_analytics.simulation.randomness import Ints, Reals
from usage_analytics.simulation.visits import EVENTS_PER_VISIT, visits

SHARE = 0.08  # of all messages of an ordinary day
LEADER_NOISE, FOLLOWER_NOISE, PULL = 0.8, 0.2, 0.9  # of the logarithm of how many react in a minute
REACTING = tuple(app for pair in LEAD_LAGS for app in (pair.leader, pair.follower))
REACTING_IN_ALL = np.array([MINI_APPS.index(app) for app in REACTING])


class Reactions:
    """The reactions of some users on one day, five minutes at a time."""

    def __init__(self, everyone: Population, users: Ints, market: MarketDay) -> None:
        self._everyone, self._users, self._market = everyone, users, market
        self._rate = visits_per_day(everyone, market)[users]
        self._exchange = everyone.exchange[users]
        self._curves = [_curve(everyone.scenario.seed, exchange) for exchange in market.exchanges]

    def starting(self, first_minute: int) -> Events:
        """The events of reactions that begin in the five minutes from then."""
        return np.concatenate(
            [
                NO_EVENTS,
                *(self._at(*each, first_minute) for each in zip(self._market.exchanges, self._curves, strict=True)),
            ]
        )

    def _at(self, exchange: ExchangeDay, curve_of_day: Reals, first_minute: int) -> Events:
        of_slice = exchange.of_slice(first_minute)
        curve = curve_of_day[of_slice]
        here = self._rate * (self._exchange == self._everyone.scenario.exchanges.index(exchange.exchange))
        at = (self._market.day.toordinal(), first_minute)
        begun = arrivals(self._everyone.stream("reactions"), at, self._users, here, curve.ravel())
        minute, app = np.divmod(begun.cell, len(REACTING))
        minute += exchange.first_minute + of_slice.start
        events = visits(self._everyone, begun.key, begun.user, REACTING_IN_ALL[app], minute)
        events["popup"] = 1
        return events


def _curve(seed: int, exchange: ExchangeDay) -> Reals:
    """How many react in each minute of a day and at each of `REACTING`, as shares of an ordinary day's."""
    minutes = exchange.first_minute + np.arange(len(exchange.starts))
    return np.asarray(exchange.starts[:, None] * waves(seed, minutes) / len(REACTING))


def visits_per_day(everyone: Population, market: MarketDay) -> Reals:
    """How often each user reacts on an ordinary day; 0 for those who do not work on this one."""
    wanted = SHARE * everyone.scenario.messages_per_day / EVENTS_PER_VISIT
    each = wanted / float(everyone.activity[~everyone.is_bot].sum() * PRESENT)
    return each * everyone.activity * everyone.present(market.day)


def waves(seed: int, minutes: Ints) -> Reals:
    """How many react in each minute (epoch) beside the ordinary, with mean about 1: minutes x `REACTING`."""
    logarithms = [column for pair in LEAD_LAGS for column in _logarithms(seed, pair, minutes)]
    return np.exp(np.stack(logarithms, axis=1) - LEADER_NOISE**2 / 2)


def _logarithms(seed: int, pair: LeadLag, minutes: Ints) -> tuple[Reals, Reals]:
    leading = randomness.stream(seed, f"waves of {pair.leader}")
    own = randomness.stream(seed, f"waves of {pair.follower}")
    leader = LEADER_NOISE * randomness.normal(leading, minutes)
    echo = PULL * LEADER_NOISE * randomness.normal(leading, minutes - pair.minutes)
    return leader, echo + FOLLOWER_NOISE * randomness.normal(own, minutes)
