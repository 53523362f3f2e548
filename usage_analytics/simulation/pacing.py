"""Keeps simulated time to a multiple of real time."""

import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from usage_analytics.simulation.lanes import Batch
from usage_analytics.simulation.market_day import MINUTE_US
from usage_analytics.simulation.rendering import Messages

PIECE_S = 0.25  # of real time: what is sent in one go


class Pace:
    """Gives out the messages of batches when they are due; each day begins when its first batch is asked for."""

    def __init__(self, speed: float) -> None:
        """``speed``: simulated seconds in a real one; infinity sends at once."""
        self._speed = speed
        self._day_began: dict[object, tuple[float, int]] = {}

    def due(self, batch: Batch) -> Iterator[Messages]:
        """The batch in pieces, each as soon as it is due."""
        if self._speed == float("inf"):
            yield batch.messages
            return
        first_us = batch.market.slices[0] * MINUTE_US
        began, first_us = self._day_began.setdefault(batch.market.day, (time.monotonic(), first_us))
        arrival = batch.messages.arrival_us
        piece_us = max(1, int(PIECE_S * self._speed * 1e6))
        pieces = (arrival - first_us) // piece_us
        cuts = [0, *(np.flatnonzero(np.diff(pieces)) + 1), len(arrival)]
        for low, high in pairwise(cuts):
            if low == high:
                continue
            wait = began + (int(arrival[low]) - first_us) / 1e6 / self._speed - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            yield Messages(batch.messages.keys[low:high], batch.messages.values[low:high], arrival[low:high])
