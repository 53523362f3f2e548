"""What a trading day's close does to a warehouse, without Dagster."""

from __future__ import annotations

from datetime import date

import polars as pl

from usage_analytics.serving.plan.rows import PLAN_SCHEMA
from usage_analytics.tables import MARTS, PRELOAD_PLAN
from usage_analytics.warehouse import plans, refreshing
from usage_analytics.warehouse.marts import MartRules
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.refreshing import MartReceipt
from usage_analytics.warehouse.transitions import counts_made

NO_PLAN = pl.DataFrame(schema=PLAN_SCHEMA)
ALL_MARTS = tuple(mart.name for mart in MARTS)


def refresh(warehouse: Warehouse, day: date, *marts: str, rules: MartRules | None = None) -> dict[str, MartReceipt]:
    """Refresh some marts of a day, or all."""
    with warehouse.writing() as session:
        return refreshing.refresh_day(session, marts or ALL_MARTS, day, rules or MartRules())


def stale_tables(warehouse: Warehouse, rules: MartRules | None = None) -> dict[date, list[str]]:
    with warehouse.session() as session:
        return refreshing.stale_tables(session, rules or MartRules())


def stale_days(warehouse: Warehouse, rules: MartRules | None = None) -> list[date]:
    return list(stale_tables(warehouse, rules))


def replace_plan(warehouse: Warehouse, day: date, plan: pl.DataFrame = NO_PLAN) -> None:
    """One whose model knew the counts of now."""
    version, rule = counts_made(warehouse, day) or (0, None)
    with warehouse.writing() as session:
        plans.replace_plan(session, day, plan, version, rule)


def close_stale_days(warehouse: Warehouse, rules: MartRules | None = None) -> dict[date, dict[str, MartReceipt]]:
    """What is stale of every day, as the close makes it anew."""
    receipts = {}
    for day, tables in stale_tables(warehouse, rules).items():
        receipts[day] = refresh(warehouse, day, *(name for name in tables if name in ALL_MARTS), rules=rules)
        if PRELOAD_PLAN.name in tables:
            replace_plan(warehouse, day)
    return receipts
