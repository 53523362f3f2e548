"""Keeps simulated time to a multiple of real time."""

import time
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import pairwise

import numpy as np

from usage_analytics.simulation.lanes import Batch
from usage_analytics.simulation.market_day import MINUTE_US, SLICE_MINUTES
from usage_analytics.simulation.rendering import Messages

PIECE_S = 0.25  # of real time: what is sent in one go


class Pace:
    """Gives out the messages of batches when they are due; a gap between batches, as at night, is passed over."""

    def __init__(
        self, speed: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """``speed``: simulated seconds in a real one; infinity sends at once."""
        self._speed, self._clock, self._sleep = speed, clock, sleep
        self._began, self._first_minute, self._last_minute = 0.0, 0, -SLICE_MINUTES - 1

    def due(self, batches: Sequence[tuple[int, Batch]]) -> Iterator[tuple[int, Messages]]:
        """Lane and messages of batches of the same five minutes, in small pieces, each as soon as it is due."""
        if self._speed == float("inf"):
            for lane, batch in batches:
                yield from ((lane, messages) for messages in batch.messages())
            return
        first_minute = batches[0][1].first_minute
        if first_minute > self._last_minute + SLICE_MINUTES:
            self._began, self._first_minute = self._clock(), first_minute
        self._last_minute = first_minute
        pieces = (self._pieces(lane, batch) for lane, batch in batches)
        for due_s, lane, messages in merge(*pieces, key=lambda piece: piece[0]):
            wait = self._began + due_s - self._clock()
            if wait > 0:
                self._sleep(wait)
            yield lane, messages

    def _pieces(self, lane: int, batch: Batch) -> Iterator[tuple[float, int, Messages]]:
        piece_us = max(1, int(PIECE_S * self._speed * 1e6))
        for messages in batch.messages():
            since_us = messages.arrival_us - self._first_minute * MINUTE_US
            cuts = [0, *(np.flatnonzero(np.diff(since_us // piece_us)) + 1), len(since_us)]
            for low, high in pairwise(cuts):
                due_s = int(since_us[low]) / 1e6 / self._speed
                piece = Messages(messages.keys[low:high], messages.values[low:high], messages.arrival_us[low:high])
                yield due_s, lane, piece
