"""One lane of a simulation: some of the users, all their events in order of arrival, five minutes at a time.

Users are dealt to lanes round and round. A lane knows nothing of the others, so lanes can be made by any number of
processes; what is held in memory is the lane's users and the events of the next minutes, however long the day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from usage_analytics.simulation.bots import Bots
from usage_analytics.simulation.errands import Errands, expected_messages
from usage_analytics.simulation.events import NO_EVENTS, Events
from usage_analytics.simulation.market_day import MINUTE_US, SLICE_MINUTES, MarketDay, market_day
from usage_analytics.simulation.population import Population, population
from usage_analytics.simulation.reactions import SHARE as REACTIONS
from usage_analytics.simulation.reactions import Reactions
from usage_analytics.simulation.rendering import Messages, Renderer
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.trouble import with_trouble
from usage_analytics.simulation.walks import Walks, expected_sessions_scale

RENDERED_AT_A_TIME = 20_000


@dataclass(frozen=True)
class Batch:
    """What arrives in five minutes on one lane, in order of arrival."""

    market: MarketDay
    first_minute: int
    events: Events
    renderer: Renderer

    def messages(self) -> Iterator[Messages]:
        """The same as messages, a piece at a time: they take ten times the memory of events."""
        for low in range(0, len(self.events), RENDERED_AT_A_TIME):
            yield self.renderer.render(self.events[low : low + RENDERED_AT_A_TIME], self.market)


class Lane:
    """Makes the batches of one lane."""

    def __init__(self, scenario: Scenario, number: int, everyone: Population | None = None) -> None:
        self.scenario, self.number = scenario, number
        self._everyone = everyone or population(scenario)
        self._users = np.arange(number, len(self._everyone), scenario.lanes)
        self._renderer = Renderer(self._everyone, self._users)

    def batches(self) -> Iterator[Batch]:
        """All days, one after the other; the last batches of a day hold what arrives late."""
        for day in sorted(self.scenario.days):
            yield from self._day(market_day(self.scenario, day))

    def _day(self, market: MarketDay) -> Iterator[Batch]:
        sources = (
            Walks(self._everyone, self._users, market, sessions_scale(self._everyone, market.day)),
            Errands(self._everyone, self._users, market),
            Reactions(self._everyone, self._users, market),
            Bots(self._everyone, self._users, market),
        )
        waiting = NO_EVENTS
        for first_minute in market.slices:
            new = np.concatenate([source.starting(first_minute) for source in sources])
            waiting = np.concatenate([waiting, with_trouble(new, self._everyone, market)])
            arrived, waiting = _arrived(waiting, first_minute)
            yield Batch(market, first_minute, arrived, self._renderer)
        first_minute = market.slices[-1]
        while len(waiting):
            first_minute += SLICE_MINUTES
            arrived, waiting = _arrived(waiting, first_minute)
            yield Batch(market, first_minute, arrived, self._renderer)


def sessions_scale(everyone: Population, day: date) -> float:
    """What makes an ordinary day have the scenario's number of messages, those that are not of walks among them."""
    scenario = everyone.scenario
    walked = scenario.messages_per_day * (1 - scenario.trouble.bots - REACTIONS) - expected_messages(everyone, day)
    return expected_sessions_scale(everyone, walked, day)


def _arrived(waiting: Events, first_minute: int) -> tuple[Events, Events]:
    here = waiting["arrival_us"] < (first_minute + SLICE_MINUTES) * MINUTE_US
    arrived = waiting[here]
    return arrived[np.argsort(arrived["arrival_us"], kind="stable")], waiting[~here]
