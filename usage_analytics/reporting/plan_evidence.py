"""What a preload plan holds and what it is worth, as Markdown for the metadata of its asset."""

from __future__ import annotations

from datetime import date

import polars as pl

from usage_analytics.lake.layout import Layout
from usage_analytics.reporting.markdown import table
from usage_analytics.serving.judging.plan_comparison import compare_on
from usage_analytics.serving.plan.prewarm_answers import answer_of_slot, clock_time
from usage_analytics.serving.plan.tables import PlanTables
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.planning import MadePlan
from usage_analytics.trading_calendar import TradingCalendar
from usage_analytics.warehouse.protocol import Warehouse

TOLD = {
    "policy": "policy", "net_ms_per_transition": "net ms per transition", "waiting_removed": "waiting removed",
    "precision": "precision", "wasted_bytes_per_useful_byte": "wasted bytes per useful byte", "calls": "preloads",
}  # fmt: skip

READ_AS = """

*price*: what costs are multiplied by, so that preloads fit beside what users open anyway. *room ahead for*: of the
preloads worth their cost, the share that this price forbids and the window before has room for. *fetches ahead*: what
users who are active in the window are to fetch for dearer ones; nothing where nobody is there yet to ask, or where no
mini-app is likely enough by itself."""


def likeliest(rows: pl.DataFrame, count: int = 10) -> str:
    """The likeliest preloads of a plan's rows."""
    best = rows.drop_nulls("mini_app").sort("probability", descending=True).head(count)
    lines = [
        (r["context"] or "(anywhere)", r["mini_app"], f"{r['probability']:.3f}", f"{r['value_ms']:.0f}")
        for r in best.iter_rows(named=True)
    ]
    return table(("context", "next", "probability", "worth in ms"), lines)


def prices_of(plan: MadePlan) -> str:
    """By part of the trading day: the price of a preload, the share that earlier parts have room for, what it fetches.

    The share is an estimate by the demand of all users; the last is what `prewarm` answers who is not known.
    """
    if plan.load is None:
        return "No usage in trading hours is known: the usual price holds all day."
    ahead, lines = prewarms_told(plan.tables), []
    for slot, (price, moved) in enumerate(zip(plan.load.price, plan.load.moved_ahead, strict=True)):
        lines.append((clock_time(plan.tables.facts, slot), f"{price:.2f}", f"{moved:.0%}", ahead.get(slot, "")))
    return table(("from", "price", "room ahead for", "fetches ahead"), lines) + READ_AS


def prewarms_told(tables: PlanTables) -> dict[int, str]:
    """By slot, what the population fetches ahead, each with its chance; at what price, and for when."""
    told = {}
    for row, slot in enumerate(tables.prewarm_slots.tolist()):
        answer = answer_of_slot(tables, "", row, 0, tables.facts.budget)
        items = [f"{item.mini_app} {item.chance:.2f}" for item in answer.items]
        told[slot] = (
            f"{', '.join(items) or 'by class of user only'} (at {answer.price:.2f}, for {', '.join(answer.times)})"
        )
    return told


def comparison_on(
    warehouse: Warehouse, layout: Layout, plans: PlanFolder, trading_day: date, calendar: TradingCalendar
) -> str:
    """What the trading day before, its ways to decide and its plan, would have been worth on a day, at its costs."""
    compared = compare_on(warehouse, layout, plans, trading_day, calendar)
    if compared is None:
        return "No earlier trading day has a model, or this one has no user session to judge it by."
    lines = [tuple(map(_short, row)) for row in compared.select(*TOLD).rows()]
    return table(tuple(TOLD.values()), lines)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return "" if value is None else str(value)
