"""One lane of a simulation: some of the users, all their events in order of arrival, five minutes at a time.

Users are dealt to lanes round and round. A lane knows nothing of the others, so lanes can be made by any number of
processes; what is held in memory is the lane's users and the events of the next minutes, however long the day.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from usage_analytics.simulation.bots import Bots
from usage_analytics.simulation.errands import Errands, expected_messages
from usage_analytics.simulation.events import NO_EVENTS, Events
from usage_analytics.simulation.market_day import MINUTE_US, SLICE_MINUTES, MarketDay, market_day
from usage_analytics.simulation.population import Population, population
from usage_analytics.simulation.randomness import Ints
from usage_analytics.simulation.reactions import SHARE as REACTIONS
from usage_analytics.simulation.reactions import Reactions
from usage_analytics.simulation.rendering import Messages, Renderer
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.trouble import with_trouble
from usage_analytics.simulation.walks import Walks, expected_sessions_scale

RENDERED_AT_A_TIME = 5_000


@dataclass(frozen=True)
class Batch:
    """What arrives in five minutes on one lane, in order of arrival; days that are not open have no more to come."""

    first_minute: int
    events: Events
    renderer: Renderer
    open_days: frozenset[date]

    def messages(self) -> Iterator[Messages]:
        """The same as messages, a piece at a time: they take ten times the memory of events."""
        for low in range(0, len(self.events), RENDERED_AT_A_TIME):
            yield self.renderer.render(self.events[low : low + RENDERED_AT_A_TIME])


class Lane:
    """Makes the batches of one lane."""

    def __init__(self, scenario: Scenario, number: int, everyone: Population | None = None) -> None:
        self.scenario, self.number = scenario, number
        self._everyone = everyone or population(scenario)
        self._users = np.arange(number, len(self._everyone), scenario.lanes)
        self._renderer = Renderer(self._everyone, self._users)

    def batches(self) -> Iterator[Batch]:
        """All days, one after the other or overlapping; the last batches of a day hold what arrives late."""
        to_come = deque(market_day(self.scenario, day) for day in sorted(self.scenario.days))
        begun: list[_Day] = []
        waiting, first_minute = NO_EVENTS, to_come[0].slices[0]
        while to_come or begun or len(waiting):
            if not begun and not len(waiting):
                first_minute = to_come[0].slices[0]  # nights are passed over
            while to_come and to_come[0].slices[0] <= first_minute:
                begun.append(_Day(self._everyone, self._users, to_come.popleft()))
            new = [with_trouble(day.starting(first_minute), self._everyone, day.market) for day in begun]
            waiting = np.concatenate([waiting, *new])
            arrived, waiting = _arrived(waiting, first_minute)
            begun = [day for day in begun if first_minute < day.market.slices[-1]]
            late = (date.fromordinal(int(day)) for day in np.unique(waiting["day"]))
            open_days = frozenset([*(day.market.day for day in begun), *late])
            yield Batch(first_minute, arrived, self._renderer, open_days)
            first_minute += SLICE_MINUTES


class _Day:
    """Everything that begins on one day."""

    def __init__(self, everyone: Population, users: Ints, market: MarketDay) -> None:
        self.market = market
        walks = Walks(everyone, users, market, sessions_scale(everyone, market.day))
        self._sources = (
            walks, Errands(everyone, users, market), Reactions(everyone, users, market), Bots(everyone, users, market),
        )  # fmt: skip

    def starting(self, first_minute: int) -> Events:
        return np.concatenate([source.starting(first_minute) for source in self._sources])


def sessions_scale(everyone: Population, day: date) -> float:
    """What makes an ordinary day have the scenario's number of messages, those that are not of walks among them."""
    scenario = everyone.scenario
    walked = scenario.messages_per_day * (1 - scenario.trouble.bots - REACTIONS) - expected_messages(everyone, day)
    return expected_sessions_scale(everyone, walked, day)


def _arrived(waiting: Events, first_minute: int) -> tuple[Events, Events]:
    arrival_us = waiting["arrival_us"]
    here = arrival_us < (first_minute + SLICE_MINUTES) * MINUTE_US
    arrived = np.flatnonzero(here)
    return waiting[arrived[np.argsort(arrival_us[arrived], kind="stable")]], waiting[~here]
