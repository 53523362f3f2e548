"""The look-up of what to fetch ahead of dearer times: by time of day and class of user, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.answer import PrewarmAnswer, PrewarmItem
from usage_analytics.serving.plan.choosing import choose
from usage_analytics.serving.plan.tables import PlanFacts, PlanTables, slot_at


def prewarm_answer(tables: PlanTables, plan: str, user_class: int, at: datetime, budget: Budget) -> PrewarmAnswer:
    """What a user of a class is to fetch at an instant; ValueError if it has no time zone."""
    slot = slot_at(tables, at)
    rows = [] if slot is None else np.flatnonzero(tables.prewarm_slots == slot).tolist()
    if not rows:
        return PrewarmAnswer(plan, (), (), user_class > 0, None, _when(tables, at))
    return answer_of_slot(tables, plan, rows[0], user_class, budget)


def answer_of_slot(tables: PlanTables, plan: str, row: int, user_class: int, budget: Budget) -> PrewarmAnswer:
    """What a user of a class is to fetch in the slot of one row of the plan's pre-warms."""
    price, chances = float(tables.prewarm_prices[row]), tables.prewarm_chances[row, user_class].astype(np.float64)
    values = chances * tables.saved_ms - price * tables.cost_ms
    figures = (chances, tables.saved_ms, tables.cost_ms, values, tables.payload_bytes)
    items = tuple(
        PrewarmItem(tables.mini_apps[app], *(float(each[app]) for each in figures))
        for app in choose(values.tolist(), np.ceil(tables.payload_bytes).tolist(), budget)
    )
    why = None if items else "nothing is likely enough to be worth its price, or it does not fit the budget"
    return PrewarmAnswer(plan, items, dear_times(tables, row), user_class > 0, price, why)


def dear_times(tables: PlanTables, row: int) -> tuple[str, ...]:
    """The local times that one slot fetches ahead for."""
    slot, end = int(tables.prewarm_slots[row]), int(tables.prewarm_ends[row])
    dear = [ahead for ahead in range(slot + 1, end) if tables.prices[ahead] > tables.prices[slot]]
    return tuple(_spans(tables.facts, dear))


def clock_time(facts: PlanFacts, slot: int) -> str:
    """The local time at which a slot begins."""
    hour, minute = divmod(facts.first_slot.hour * 60 + facts.first_slot.minute + slot * facts.slot_minutes, 60)
    return f"{hour:02}:{minute:02}"


def _when(tables: PlanTables, at: datetime) -> str:
    facts = tables.facts
    day = at.astimezone(ZoneInfo(facts.timezone)).date()
    if facts.holds_on and day not in facts.holds_on:
        days = f"on trading days from {facts.holds_on[0]} to {facts.holds_on[-1]}"
        return f"this plan tells prices of preloads {days} only, and {day} is none of them"
    slots = tables.prewarm_slots.tolist()
    if not slots:
        return "this plan fetches nothing ahead: at no time is it cheap, and dear soon after, and worth it for anybody"
    return f"it is fetched ahead at {', '.join(_spans(tables.facts, slots))} only ({tables.facts.timezone})"


def _spans(facts: PlanFacts, slots: list[int]) -> Iterator[str]:
    """Slots as times from and until; those that follow each other together."""
    begin = None
    for slot in slots:
        begin = slot if begin is None else begin
        if slot + 1 not in slots:
            yield f"{clock_time(facts, begin)}-{clock_time(facts, slot + 1)}"
            begin = None
