"""The funnels of docs/marts.md, by two searches that share nothing but what a step is: one walks, one tries all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

from usage_analytics_tests.warehouse.mart_oracle import Row
from usage_analytics_tests.warehouse.session_oracle import SECOND_US, Event, events_of_users


@dataclass(frozen=True)
class Step:
    """What an event must have to take it; what is None is not asked for."""

    mini_app: str | None = None
    action: str | None = None
    screen: str | None = None

    def is_taken_by(self, event: Event) -> bool:
        return (
            (self.mini_app is None or event.mini_app == self.mini_app)
            and (self.action is None or event.action == self.action)
            and (self.screen is None or event.screen == self.screen)
        )


@dataclass(frozen=True)
class Funnel:
    """Named steps in order, and the seconds within which they must be taken."""

    name: str
    within_s: float
    steps: tuple[Step, ...]


# What a user's events of a day, in order, took to each of a funnel's steps; None from the first not got to.
Search = Callable[[Sequence[Event], Funnel], list[int | None]]


def took_by_walking(ordered: Sequence[Event], funnel: Funnel) -> list[int | None]:
    """From each possible first event walk forward, always to the next event that takes the next step.

    A walk from a first event is at each step as early as can be. So the earliest of all walks at a step is the earliest
    event at which the user got there; and each first event that leads to it in time has a walk that ends there, for it
    can be no later and no walk is earlier.
    """
    walks = [_walk(ordered, funnel, first) for first in range(len(ordered))]
    took: list[int | None] = []
    for number in range(len(funnel.steps)):
        got_there = [(walk[number], walk[0]) for walk in walks if len(walk) > number]
        if not got_there:
            took.append(None)
            continue
        earliest = min(last for last, _ in got_there)
        latest_first = max(first for last, first in got_there if last == earliest)
        took.append(ordered[earliest].event_time_us - ordered[latest_first].event_time_us)
    return took


def took_by_trying_all(ordered: Sequence[Event], funnel: Funnel) -> list[int | None]:
    """Try all choices of different events; takes time exponential in the number of steps."""
    took: list[int | None] = []
    for count in range(1, len(funnel.steps) + 1):
        chains = [chain for chain in combinations(range(len(ordered)), count) if _keeps(ordered, chain, funnel)]
        if not chains:
            took.append(None)
            continue
        earliest = min(chain[-1] for chain in chains)
        latest_first = max(chain[0] for chain in chains if chain[-1] == earliest)
        took.append(ordered[earliest].event_time_us - ordered[latest_first].event_time_us)
    return took


def expected_funnels(events: Iterable[Event], funnels: Iterable[Funnel], search: Search = took_by_walking) -> set[Row]:
    funnels, of_users = tuple(funnels), events_of_users(events)
    rows = set()
    for trading_day in {day for day, _ in of_users}:
        for funnel in funnels:
            found = [search(ordered, funnel) for (day, _), ordered in of_users.items() if day == trading_day]
            for step in range(1, len(funnel.steps) + 1):
                took = [each[step - 1] for each in found]
                there = [took_us for took_us in took if took_us is not None]
                rows.add((trading_day, funnel.name, step, len(there), sum(there)))
    return rows


def _walk(ordered: Sequence[Event], funnel: Funnel, first: int) -> list[int]:
    """The places of the events that take step 1, 2, … soonest, beginning at a first one, as far as the time allows."""
    if not funnel.steps[0].is_taken_by(ordered[first]):
        return []
    walk, place = [first], first + 1
    for step in funnel.steps[1:]:
        while place < len(ordered) and not step.is_taken_by(ordered[place]):
            place += 1
        if place == len(ordered) or not _in_time(ordered, first, place, funnel):
            break
        walk.append(place)
        place += 1
    return walk


def _keeps(ordered: Sequence[Event], chain: Sequence[int], funnel: Funnel) -> bool:
    taken = all(step.is_taken_by(ordered[place]) for step, place in zip(funnel.steps, chain, strict=False))
    return taken and _in_time(ordered, chain[0], chain[-1], funnel)


def _in_time(ordered: Sequence[Event], first: int, last: int, funnel: Funnel) -> bool:
    return ordered[last].event_time_us - ordered[first].event_time_us <= Decimal(str(funnel.within_s)) * SECOND_US
