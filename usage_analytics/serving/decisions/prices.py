"""The price of preloads through the trading day: 1 while the back end is idle, more where it would be overrun.

A preload is worth its price where probability * saved_ms exceeds price * cost_ms, so how many preloads are asked for at
a price is the share of candidates whose ratio of the two lies above it. The price of a minute is the lowest at which
these, on top of what users open anyway, keep within the capacity: the shadow price of the capacity, as in Jiang and
Kleinrock, An adaptive network prefetch scheme, 1998, where the threshold follows from load and cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget, expected_values
from usage_analytics.serving.decisions.moments import Moments

LOWEST_PRICE = 1.0

_ABOVE = 1 + 1e-12  # a price just above a ratio: rounding never lets the candidate of that very ratio in


@dataclass(frozen=True)
class Demand:
    """How many preloads are asked for at a price above 1, for each ordinary call."""

    ratios: Floats  # (candidates,) largest first: worth over cost at price 1
    calls: Floats  # (candidates,) those of this ratio and all larger ones, per ordinary call

    def at(self, price: Floats) -> Floats:
        """Preloads per ordinary call at each price; the higher the price, the fewer."""
        worth_it = np.searchsorted(-self.ratios, -np.asarray(price, np.float64), side="left")
        return np.concatenate([[0.0], self.calls])[worth_it]

    def price(self, allowed: Floats) -> Floats:
        """The lowest price from 1 on at which not more preloads than allowed, per ordinary call, are asked for.

        Where less than none is allowed, nothing is asked for.
        """
        fitting = np.searchsorted(self.calls, allowed, side="right")
        return np.concatenate([self.ratios * _ABOVE, [LOWEST_PRICE]])[fitting]


def preload_demand(
    probabilities: Floats, moments: Moments, transitions: Floats, economics: Economics, budget: Budget
) -> Demand:
    """The demand of users who meet the moments as often as ``transitions`` (moments,) tells.

    probabilities: (moments, mini_apps). Per moment at most budget.calls candidates count, those of the highest ratios;
    so the demand is never less than what `expected_value.choose_many` chooses. What costs nothing loads no back end.
    ValueError when the moments were never met.
    """
    if not transitions.sum() > 0:
        raise ValueError("there are no transitions: how often preloads are asked for is unknown")
    worth_ms = expected_values(moments.without_current(probabilities), economics, 0.0)
    able = (economics.cost_ms > 0) & (np.ceil(economics.payload_bytes) <= budget.bytes)
    ratios = np.zeros(worth_ms.shape)
    np.divide(worth_ms, economics.cost_ms, out=ratios, where=able)
    best = np.argsort(-ratios, axis=1, kind="stable")[:, : budget.calls]
    ratios = np.take_along_axis(ratios, best, axis=1)
    asked = ratios > LOWEST_PRICE
    share = np.broadcast_to((transitions / transitions.sum())[:, None], ratios.shape)
    order = np.argsort(-ratios[asked], kind="stable")
    return Demand(ratios[asked][order], np.cumsum(share[asked][order]))


def slot_prices(calls: Floats, capacity: float, demand: Demand, slot_minutes: int) -> Floats:
    """The price of each slot of the trading day, which suffices in every minute of it: (slots,), the last may be short.

    calls: (minutes,) expected back-end calls without preloads; capacity: calls per minute that the back end can take.
    A minute whose calls alone exceed the capacity has the price at which nothing is preloaded.
    """
    _check_load(calls, capacity, slot_minutes)
    allowed = np.full(len(calls), np.inf)
    np.divide(capacity - calls, calls, out=allowed, where=calls > 0)
    return np.asarray(np.maximum.reduceat(demand.price(allowed), _slot_starts(calls, slot_minutes)), np.float64)


def by_minute(of_slots: Floats, minutes: int, slot_minutes: int) -> Floats:
    """What holds in each slot, for each of so many minutes."""
    return np.repeat(of_slots, slot_minutes)[:minutes]


def by_slot(of_minutes: Floats, slot_minutes: int) -> Floats:
    """The sum over the minutes of each slot."""
    return np.asarray(np.add.reduceat(of_minutes, _slot_starts(of_minutes, slot_minutes)), np.float64)


def expected_calls(usage: pl.DataFrame, minutes: int) -> Floats:
    """Mean calls in each minute of the trading day, (minutes,), over the days in ``usage``.

    usage: trading_day, minute (of the trading day, from 0), events; rows of one minute add up, and a minute without a
    row had none. UserError when there is no day to go by.
    """
    return _calls_by_day(usage, minutes).mean(axis=0)


def busiest_minute(usage: pl.DataFrame, minutes: int) -> float:
    """The most calls that a minute of these days had, which the back end can take, as it did."""
    return float(_calls_by_day(usage, minutes).max())


def _calls_by_day(usage: pl.DataFrame, minutes: int) -> Floats:
    inside = usage.filter(pl.col("minute").is_between(0, minutes - 1))
    if inside.is_empty():
        raise UserError("price of preloads: no past trading day has usage, so the load of the back end is unknown")
    day = (inside["trading_day"].rank("dense") - 1).to_numpy().astype(np.int64)
    flat = np.bincount(day * minutes + inside["minute"].to_numpy(), inside["events"].to_numpy())
    calls = np.zeros((int(day.max()) + 1) * minutes)
    calls[: len(flat)] = flat
    return calls.reshape(-1, minutes)


def _slot_starts(of_minutes: Floats, slot_minutes: int) -> list[int]:
    return list(range(0, len(of_minutes), slot_minutes))


def _check_load(calls: Floats, capacity: float, slot_minutes: int) -> None:
    if not capacity > 0 or np.isinf(capacity):
        raise UserError(f"price of preloads: the capacity is {capacity} calls per minute; it must be above 0")
    if slot_minutes < 1:
        raise UserError(f"price of preloads: a slot of {slot_minutes} minutes; it has at least one")
    for minute in np.flatnonzero(~(np.isfinite(calls) & (calls >= 0)))[:1]:
        raise UserError(f"price of preloads: {calls[minute]:g} calls are expected in minute {minute}, which cannot be")
    if not len(calls):
        raise UserError("price of preloads: the trading day has no minutes")
