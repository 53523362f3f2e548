"""When to pre-warm: which cheaper slots can make preloads that a dearer one after them is too busy for, and how many.

By the demand of all users together, and so only an estimate: what each user then fetches there, and at what price, is
for `prewarms` to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.decisions.prices import LOWEST_PRICE, Demand, by_minute, by_slot, slot_prices


@dataclass(frozen=True)
class DayLoad:
    """What the back end gets in a trading day with preloads: the price of each slot, and what slots make ahead."""

    slot_minutes: int
    reach: int  # how many slots ahead a preload may be made, to be fresh until the end of the one that it is for
    calls: Floats  # (minutes,) expected without preloads
    spare: Floats  # (minutes,) calls that are left of the capacity beside these and preloads at the slot's price
    price: Floats  # (slots,)
    moved_ahead: Floats  # (slots,) of the preloads worth it at price 1, the share that earlier slots have room for
    taken_over: Floats  # (slots,) preloads that a slot has room to make for later ones
    load: Floats  # (minutes,) calls: ordinary ones, preloads at the slot's price, and all that it takes over


def balance_load(
    calls: Floats,
    capacity: float,
    demand: Demand,
    time_to_live_s: float,
    slot_minutes: int,
) -> DayLoad:
    """Price each slot, and bring preloads that a slot's price forbids forward into cheaper slots before it.

    calls: (minutes,) expected without preloads; capacity: calls per minute. A preload moves to a slot only if it is
    worth that slot's price, fits into what the slot has left, and is younger than ``time_to_live_s`` until the end of
    the slot that it is for. The load never exceeds the capacity in a minute whose ordinary calls do not.
    """
    if not time_to_live_s >= 0:
        raise UserError(f"pre-warming: a time to live of {time_to_live_s} seconds; it must be a number from 0 on")
    price = slot_prices(calls, capacity, demand, slot_minutes)
    at_price = calls * (1 + demand.at(by_minute(price, len(calls), slot_minutes)))
    spare = np.maximum(capacity - at_price, 0.0)
    reach = _slots_fresh(time_to_live_s, slot_minutes, len(price))
    moved, taken_over = _bring_forward(
        by_slot(calls, slot_minutes),
        by_slot(spare, slot_minutes),
        price,
        demand,
        reach,
    )
    # What a slot takes over is spread over its minutes as they have room.
    used = taken_over / np.maximum(by_slot(spare, slot_minutes), np.finfo(np.float64).tiny)
    wanted = by_slot(calls, slot_minutes) * demand.at(np.array([LOWEST_PRICE]))
    return DayLoad(
        slot_minutes,
        reach,
        calls,
        spare,
        price,
        moved_ahead=np.divide(moved, wanted, out=np.zeros(len(price)), where=wanted > 0),
        taken_over=taken_over,
        load=at_price + spare * by_minute(used, len(calls), slot_minutes),
    )


def _slots_fresh(time_to_live_s: float, slot_minutes: int, slots: int) -> int:
    """How many slots ahead a preload may be made: from the start of its slot to the end of the one that it is for."""
    return int(max(0.0, min(time_to_live_s / (60 * slot_minutes) - 1, slots)))


def _bring_forward(calls: Floats, spare: Floats, price: Floats, demand: Demand, reach: int) -> tuple[Floats, Floats]:
    """Preloads of each slot that move ahead, and those that each takes over.

    Slots are served in order, each from the earliest slot within its reach on, which later ones reach no more.
    """
    moved, taken_over, left = np.zeros(len(calls)), np.zeros(len(calls)), spare.copy()
    asked = demand.at(price)
    for slot in range(len(calls)):
        for earlier in range(max(0, slot - reach), slot):
            # What is worth the earlier slot's price, but not this one's, and has not moved yet.
            waiting = calls[slot] * (asked[earlier] - asked[slot]) - moved[slot]
            amount = max(0.0, min(waiting, left[earlier]))
            moved[slot] += amount
            taken_over[earlier] += amount
            left[earlier] -= amount
    return moved, taken_over
