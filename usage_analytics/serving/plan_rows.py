"""The preload plan as rows of the warehouse: per context, what is worth preloading for a user who is not known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from usage_analytics.serving.choosing import NONE
from usage_analytics.serving.preload_plan import PreloadPlan

SEPARATOR = " > "
PLAN_SCHEMA: dict[str, type[pl.DataType]] = {
    "context": pl.String,
    "context_order": pl.Int64,
    "rank": pl.Int64,
    "mini_app": pl.String,
    "probability": pl.Float64,
    "transitions": pl.Int64,
    "value_ms": pl.Float64,
    "saved_ms": pl.Float64,
    "cost_ms": pl.Float64,
    "payload_bytes": pl.Float64,
}


def plan_rows(plan: PreloadPlan, contexts: Sequence[tuple[str, ...]]) -> pl.DataFrame:
    """What the plan answers at the usual price: columns of PLAN_SCHEMA, in the order of `contexts`, then rank.

    Probabilities are out of all next actions, staying included, so those of a context sum to less than one. A context
    after which nothing is worth preloading has one row with null rank and mini_app: the plan abstains there. Names that
    read like a context are left out.
    """
    named = [context for context in contexts if all(map(_can_be_named, context))]
    tables, answers = plan.tables, plan.next_many(np.zeros(len(named), np.uint64), plan.encode(named))
    rows: list[tuple[object, ...]] = []
    for row, context in enumerate(named):
        head = (SEPARATOR.join(context), len(context))
        evidence = int(answers.transitions[row])
        items = [
            (int(position), float(answers.probabilities[row, place]), float(answers.values_ms[row, place]))
            for place, position in enumerate(answers.positions[row])
            if position != NONE and _can_be_named(tables.mini_apps[position])
        ]
        for rank, (position, probability, value) in enumerate(items, start=1):
            costs = (tables.saved_ms[position], tables.cost_ms[position], tables.payload_bytes[position])
            name = tables.mini_apps[position]
            rows.append((*head, rank, name, probability, evidence, value, *map(float, costs)))
        if not items:
            rows.append((*head, None, None, None, evidence, None, None, None, None))
    return pl.DataFrame(rows, schema=PLAN_SCHEMA, orient="row")


def _can_be_named(mini_app: str) -> bool:
    # Names come from messages: one that reads like a context is left out of the plan, and must not stop it.
    return bool(mini_app) and f"{mini_app}{SEPARATOR}{mini_app}".split(SEPARATOR) == [mini_app] * 2
