"""Keeps simulated time to a multiple of real time."""

import time
from collections.abc import Iterator
from datetime import date
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
        self._day_began: dict[date, float] = {}

    def due(self, batch: Batch) -> Iterator[Messages]:
        """The batch in pieces, each as soon as it is due."""
        if self._speed == float("inf"):
            yield from batch.messages()
            return
        first_us = batch.market.slices[0] * MINUTE_US
        began = self._day_began.setdefault(batch.market.day, time.monotonic())
        for messages in batch.messages():
            since_us = messages.arrival_us - first_us
            pieces = since_us // max(1, int(PIECE_S * self._speed * 1e6))
            for low, high in pairwise([0, *(np.flatnonzero(np.diff(pieces)) + 1), len(since_us)]):
                wait = began + int(since_us[low]) / 1e6 / self._speed - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                yield Messages(messages.keys[low:high], messages.values[low:high], messages.arrival_us[low:high])
