"""The preload plan as rows of the warehouse: per context, what is worth preloading for anybody, on average.

A look-up knows more: all that was opened in the user session, the user, what is in hand. Rows tell what followed these
mini-apps whatever came before them, so their probabilities are what happened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import USUAL_PRICE, Budget, choose_many, expected_values
from usage_analytics.serving.decisions.moments import NONE, Moments

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


def plan_rows(
    model: FactoredModel, contexts: Sequence[tuple[str, ...]], economics: Economics, budget: Budget
) -> pl.DataFrame:
    """What is worth most within the budget at the usual price: PLAN_SCHEMA, in the order of `contexts`, then rank.

    Probabilities are out of all next actions, staying included, so those of a context sum to less than one. A context
    after which nothing is worth preloading has one row with null rank and mini_app: the plan abstains there. Names that
    read like a context are left out.
    """
    named = [context for context in contexts if all(map(_can_be_named, context))]
    position = {name: place for place, name in enumerate(model.mini_apps)}
    current = np.array([position[context[-1]] if context else NONE for context in named], np.int64)
    probabilities = model.base.coded_probabilities(model.counts.encode(named))
    able = Moments(current, np.full(len(named), USUAL_PRICE)).without_current(probabilities)
    able[:, [not _can_be_named(name) for name in model.mini_apps]] = 0.0
    chosen = choose_many(able, economics, budget, np.full(len(named), USUAL_PRICE))
    values = expected_values(able, economics, USUAL_PRICE)
    seen = model.counts.evidence(named)[1].tolist()
    rows: list[tuple[object, ...]] = []
    for row, context in enumerate(named):
        head = (SEPARATOR.join(context), len(context))
        places = sorted(np.flatnonzero(chosen[row]).tolist(), key=lambda place: -values[row, place])
        for rank, place in enumerate(places, start=1):
            figures = (values[row, place], *(each[place] for each in _costs(economics)))
            rows.append((*head, rank, model.mini_apps[place], able[row, place], seen[row], *map(float, figures)))
        if not places:
            rows.append((*head, None, None, None, seen[row], None, None, None, None))
    return pl.DataFrame(rows, schema=PLAN_SCHEMA, orient="row")


def _costs(economics: Economics) -> tuple[np.ndarray, ...]:
    return economics.saved_ms, economics.cost_ms, economics.payload_bytes


def _can_be_named(mini_app: str) -> bool:
    # Names come from messages: one that reads like a context is left out of the plan, and must not stop it.
    return bool(mini_app) and f"{mini_app}{SEPARATOR}{mini_app}".split(SEPARATOR) == [mini_app] * 2
