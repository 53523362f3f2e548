"""What a warehouse must do with preload plans, whichever it is."""

from __future__ import annotations

from datetime import date

import polars as pl
from closing import replace_plan

from usage_analytics.serving.plan.rows import PLAN_SCHEMA
from usage_analytics.warehouse.plans import faulty_contexts, newest_plan
from usage_analytics.warehouse.protocol import Warehouse

DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
COSTS = {"value_ms": 80.5, "saved_ms": 200.0, "cost_ms": 19.5, "payload_bytes": None}


def a_plan_replaces_that_of_its_day(warehouse: Warehouse) -> None:
    def plan(mini_app: str) -> pl.DataFrame:
        row = {"context": "", "context_order": 0, "rank": 1, "mini_app": mini_app, "probability": 0.5, "transitions": 9}
        return pl.DataFrame([{**row, **COSTS}], PLAN_SCHEMA)

    for day, mini_app in ((DAYS[0], "a"), (DAYS[1], "b"), (DAYS[1], "c")):
        replace_plan(warehouse, day, plan(mini_app))
    rows = warehouse.read("SELECT trading_day, mini_app FROM preload_plan ORDER BY 1").rows()
    assert rows == [(DAYS[0], "a"), (DAYS[1], "c")]


def contexts_that_promise_too_much_or_what_is_open_are_faulty(warehouse: Warehouse) -> None:
    rows = [
        ("", 0, 1, "news", 0.6, 90), ("", 0, 2, "mail", 0.4, 90), ("news", 1, 1, "mail", 0.7, 20),
        ("news", 1, 2, "chat", 0.4, 20), ("mail > chat", 2, 1, "chat", 0.5, 30), ("chat", 1, None, None, None, 30),
        ("quotes", 1, 1, "mail", 1.0, 20), ("quotes", 1, 2, "chat", 1e-8, 20),  # of 32 bits each
    ]  # fmt: skip
    plan = pl.DataFrame([(*row, *COSTS.values()) for row in rows], PLAN_SCHEMA, orient="row")
    with warehouse.session() as session:
        assert newest_plan(session) is None
    for day in DAYS:
        replace_plan(warehouse, day, plan.head(2) if day == DAYS[0] else plan)
    with warehouse.session() as session:
        assert faulty_contexts(session, DAYS[0]) == []
        assert sorted(faulty_contexts(session, DAYS[1])) == ["mail > chat", "news"]
        newest = newest_plan(session)
    assert newest is not None and newest[0] == DAYS[1]
    assert newest[1].sort("context", "rank").equals(plan.sort("context", "rank"))
