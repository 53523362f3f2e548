"""The preload plan as rows of the warehouse: per context, the ranked next mini-apps worth preloading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from usage_analytics.models.branching.ngrams import NGramModel

SEPARATOR = " > "
PLAN_SCHEMA: dict[str, type[pl.DataType]] = {
    "context": pl.String,
    "context_order": pl.Int64,
    "rank": pl.Int64,
    "mini_app": pl.String,
    "probability": pl.Float64,
    "transitions": pl.Int64,
}

_CONTEXTS_AT_ONCE = 4096


def build_plan(
    model: NGramModel,
    contexts: Sequence[tuple[str, ...]],
    items_per_context: int,
    minimum_probability: float,
) -> pl.DataFrame:
    """Rank the next mini-apps of each context: columns of PLAN_SCHEMA, in the order of `contexts`, then rank.

    contexts: those of `model.contexts(...)`. Never proposes the current mini-app, which is loaded already;
    probabilities are out of all next actions, staying included, so those of a context sum to less than one.
    A context with nothing worth preloading has one row with null rank, mini_app and probability: the plan
    abstains there, rather than answer with a shorter context that knows less.
    ValueError on an unfit context or limit.
    """
    if items_per_context < 1:
        raise ValueError(f"items_per_context must be at least 1, not {items_per_context}")
    if not 0.0 <= minimum_probability <= 1.0:
        raise ValueError(f"minimum_probability must lie between 0 and 1, not {minimum_probability}")
    distinct = [context for context in dict.fromkeys(contexts) if all(map(_can_be_named, context))]
    parts = [pl.DataFrame(schema=PLAN_SCHEMA)]
    for begin in range(0, len(distinct), _CONTEXTS_AT_ONCE):
        batch = distinct[begin : begin + _CONTEXTS_AT_ONCE]
        parts.append(_plan_batch(model, batch, items_per_context, minimum_probability))
    return pl.concat(parts)


def _plan_batch(
    model: NGramModel, contexts: list[tuple[str, ...]], items: int, minimum_probability: float
) -> pl.DataFrame:
    orders, transitions = model.evidence(contexts)
    for context, order in zip(contexts, orders.tolist(), strict=True):
        if order != len(context):
            raise ValueError(f"the context {context} is none of the model's own: it knows its last {order} only")
    column = {name: index for index, name in enumerate(model.mini_apps)}
    probabilities = model.probabilities(contexts)
    probabilities[:, [not _can_be_named(name) for name in model.mini_apps]] = -1.0
    for row, context in enumerate(contexts):
        if context:
            probabilities[row, column[context[-1]]] = -1.0
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :items]
    chosen = np.take_along_axis(probabilities, best, axis=1)
    # a probability of -1 marks the current mini-app, so a minimum of 0 must not let it in
    worth = (chosen >= minimum_probability) & (chosen >= 0.0)
    rows: list[tuple[str, int, int | None, str | None, float | None, int]] = []
    for row, context in enumerate(contexts):
        head = (SEPARATOR.join(context), int(orders[row]))
        evidence = int(transitions[row])
        places = np.flatnonzero(worth[row])
        for place in places.tolist():
            name = model.mini_apps[best[row, place]]
            rows.append((*head, place + 1, name, float(chosen[row, place]), evidence))
        if not len(places):
            rows.append((*head, None, None, None, evidence))
    return pl.DataFrame(rows, schema=PLAN_SCHEMA, orient="row")


def _can_be_named(mini_app: str) -> bool:
    # Names come from messages: one that reads like a context is left out of the plan, and must not stop it.
    return bool(mini_app) and f"{mini_app}{SEPARATOR}{mini_app}".split(SEPARATOR) == [mini_app] * 2
