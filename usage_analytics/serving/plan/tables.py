"""What a preload plan holds: arrays that a planner fills, a file keeps, and a look-up reads where they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.counts.transition_counts import LONGEST_CONTEXT, SESSION_START
from usage_analytics.serving.decisions.expected_value import USUAL_PRICE, Budget

NO_PHASE = 0

Array = npt.NDArray[Any]  # `DTYPES` says of what


@dataclass(frozen=True)
class PlanFacts:
    """Where a plan comes from, and what holds where nobody says otherwise."""

    trading_day: date  # the last one that it learned from
    probabilities_of: str  # the counts or a challenger, and why
    transitions: int  # that the model's counts were made of
    budget: Budget
    created_at: datetime  # with a time zone
    timezone: str  # of the slots
    first_slot: time  # local time at which the first price begins to hold
    slot_minutes: int
    holds_on: tuple[date, ...]  # local days, rising, on which slots hold; on others it is as outside of all slots


@dataclass(frozen=True)
class PlanTables:
    """One plan. A position is an index into `mini_apps`; a code is 1 + position, 0 the start of the user session.

    The entries of context i are entry_positions and entry_probabilities [context_starts[i]:context_starts[i + 1]],
    likeliest first; what they leave of 1 is the probability of all mini-apps not listed. Those of entity i are
    entity_positions, entity_factors and entity_leads [entity_starts[i]:entity_starts[i + 1]]. Class 0 is that of users
    who are not known: factors of 1. `DTYPES` says what each array is made of; docs/architecture.md, what a look-up
    makes of them.
    """

    facts: PlanFacts
    mini_apps: tuple[str, ...]
    saved_ms: Array  # (mini_apps,) waiting that a preload saves when the mini-app is opened next
    cost_ms: Array  # (mini_apps,) what one preload costs at price 1, in milliseconds of waiting
    payload_bytes: Array  # (mini_apps,)
    context_keys: Array  # (contexts,) rising; see `context_keys_of`
    context_starts: Array  # (contexts + 1,)
    context_unlisted: Array  # (contexts, classes) sum over the mini-apps not listed: probability * class factor
    transitions: Array  # (contexts,) seen after the context: the evidence
    entry_positions: Array  # (entries,)
    entry_probabilities: Array  # (entries,)
    revisit_factors: Array  # (STEPS, mini_apps) by steps since the last visit in this user session
    class_factors: Array  # (classes, mini_apps) how much likelier this class of users opens it
    class_revisits: Array  # (classes, STEPS) how much likelier this class comes back after so many steps
    phase_factors: Array  # (1 + PHASES, mini_apps) how much likelier it is opened in a phase; row 0: outside the slots
    user_keys: Array  # (users,) rising; see `user_key`
    user_classes: Array  # (users,) from 1 on
    entity_keys: Array  # (entities,) rising; see `entity_key`
    entity_starts: Array  # (entities + 1,)
    entity_positions: Array  # (entity entries,)
    entity_factors: Array  # (entity entries,) how much likelier it is opened with the entity in hand
    entity_leads: Array  # (entity entries,) share of all steps that the entity itself leads there
    prices: Array  # (slots,) from `first_slot` on; before and after, the price is USUAL_PRICE
    slot_phases: Array  # (slots,) row of `phase_factors` that holds in each
    prewarm_slots: Array  # (prewarms,) rising: the slots in which something is fetched ahead
    prewarm_ends: Array  # (prewarms,) the slot before which it is to be used
    prewarm_prices: Array  # (prewarms,) what costs are multiplied by
    prewarm_chances: Array  # (prewarms, classes, mini_apps) that a user opens it in the dearer slots before that one


DTYPES: dict[str, np.dtype[Any]] = {
    "saved_ms": np.dtype("<f8"),
    "cost_ms": np.dtype("<f8"),
    "payload_bytes": np.dtype("<f8"),
    "context_keys": np.dtype("<u8"),
    "context_starts": np.dtype("<u4"),
    "context_unlisted": np.dtype("<f4"),
    "transitions": np.dtype("<i8"),
    "entry_positions": np.dtype("<u2"),
    "entry_probabilities": np.dtype("<f4"),
    "revisit_factors": np.dtype("<f4"),
    "class_factors": np.dtype("<f4"),
    "class_revisits": np.dtype("<f4"),
    "phase_factors": np.dtype("<f4"),
    "user_keys": np.dtype("<u8"),
    "user_classes": np.dtype("<u1"),
    "entity_keys": np.dtype("<u8"),
    "entity_starts": np.dtype("<u4"),
    "entity_positions": np.dtype("<u2"),
    "entity_factors": np.dtype("<f4"),
    "entity_leads": np.dtype("<f4"),
    "prices": np.dtype("<f8"),
    "slot_phases": np.dtype("<u1"),
    "prewarm_slots": np.dtype("<u2"),
    "prewarm_ends": np.dtype("<u2"),
    "prewarm_prices": np.dtype("<f8"),
    "prewarm_chances": np.dtype("<f4"),
}
assert tuple(DTYPES) == tuple(field.name for field in fields(PlanTables))[2:]


def entity_key(text: str) -> int:
    """The number under which a plan keeps what users have in hand, by its name in messages; ValueError if empty."""
    if not text:
        raise ValueError("an entity has a name, not an empty text")
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def context_keys_of(codes: npt.NDArray[np.integer], mini_apps: int) -> npt.NDArray[np.uint64]:
    """The numbers under which a plan keeps contexts of one order; codes (contexts, order), nearest first."""
    order, base = codes.shape[1], mini_apps + 1
    keys = np.full(len(codes), order * base**LONGEST_CONTEXT, dtype=np.uint64)
    for place in range(order):
        keys += codes[:, place].astype(np.uint64) * np.uint64(base**place)
    return keys


def suffix_keys(codes: Sequence[int], mini_apps: int) -> list[int]:
    """Keys of a context's suffixes, shortest first: codes nearest first; a suffix ends before what is not known.

    Nor does one reach past the start of the user session: it would tell no more.
    """
    base = mini_apps + 1
    keys, digits = [0], 0
    for order, code in enumerate(codes[:LONGEST_CONTEXT], start=1):
        if code < 0:
            break
        digits += code * base ** (order - 1)
        keys.append(order * base**LONGEST_CONTEXT + digits)
        if code == SESSION_START:
            break
    return keys


def holding_at(tables: PlanTables, at: datetime | None) -> tuple[float, int]:
    """The price and the phase, a row of `phase_factors`, that hold at an instant; None: whenever it may be.

    ValueError if the instant has no time zone.
    """
    slot = None if at is None else slot_at(tables, at)
    return (USUAL_PRICE, NO_PHASE) if slot is None else (float(tables.prices[slot]), int(tables.slot_phases[slot]))


def slot_at(tables: PlanTables, at: datetime) -> int | None:
    """The slot that an instant lies in; None outside of all, or on another day than the plan's slots hold on.

    ValueError if it has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError(f"an instant needs a time zone: {at}")
    facts = tables.facts
    local = at.astimezone(ZoneInfo(facts.timezone))
    if local.date() not in facts.holds_on:
        return None
    minutes = (local.hour - facts.first_slot.hour) * 60 + local.minute - facts.first_slot.minute
    slot = minutes // facts.slot_minutes
    return slot if 0 <= slot < len(tables.prices) else None
