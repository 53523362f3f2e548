"""Simulated time goes at a multiple of real time, on all lanes of a process alike."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from heapq import merge
from itertools import groupby

import numpy as np
import pytest
from simulation.simulated import DAY, scenario

from usage_analytics.simulation.lanes import Batch, Lane
from usage_analytics.simulation.pacing import PIECE_S, Pace
from usage_analytics.simulation.scenario import Scenario, Trouble


class Clock:
    """Stands still but for sleeping."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def numbered(lane: Lane) -> Iterator[tuple[int, Batch]]:
    return ((lane.number, batch) for batch in lane.batches())


def minute(numbered: tuple[int, Batch]) -> int:
    return numbered[1].first_minute


def lags(chosen: Scenario, speed: float) -> tuple[dict[int, np.ndarray], float]:
    """Real seconds by which messages of each lane are sent after they are due, and how long all of it took."""
    clock, found = Clock(), defaultdict(list)
    pace = Pace(speed, clock, clock.sleep)
    in_order = merge(*(numbered(Lane(chosen, number)) for number in range(chosen.lanes)), key=minute)
    first: int | None = None
    for first_minute, together in groupby(in_order, minute):
        first = first_minute if first is None else first
        for lane, messages in pace.due(list(together)):
            due = 1_000.0 + (messages.arrival_us / 1e6 - first * 60) / speed
            found[lane] += (clock.now - due).tolist()
    return {lane: np.array(values) for lane, values in found.items()}, clock.now - 1_000.0


@pytest.mark.parametrize("speed", [1.0, 60.0, 5_000.0])
def test_every_lane_keeps_pace(speed: float) -> None:
    chosen = scenario(users=400, messages_per_day=8_000, lanes=4, trouble=Trouble())
    late, took = lags(chosen, speed)
    assert sorted(late) == [0, 1, 2, 3]
    for values in late.values():
        assert np.abs(values).max() <= PIECE_S + 1e-6
    assert took == pytest.approx(9 * 3600 / speed, rel=0.4), "from the first arrival to the last late one"


def test_nights_are_passed_over() -> None:
    clock = Clock()
    pace = Pace(60.0, clock, clock.sleep)
    chosen = scenario(date(2026, 11, 19), DAY, users=50, messages_per_day=1_000, lanes=1)
    for batch in Lane(chosen, 0).batches():
        for _ in pace.due([(0, batch)]):
            pass
    assert clock.now - 1_000 < 2 * 12 * 3600 / 60


def test_at_full_speed_nothing_waits() -> None:
    def never(seconds: float) -> None:
        raise AssertionError("slept")

    chosen = scenario(users=50, messages_per_day=1_000, lanes=1)
    pace = Pace(float("inf"), sleep=never)
    assert sum(len(m.values) for batch in Lane(chosen, 0).batches() for _, m in pace.due([(0, batch)])) > 500
