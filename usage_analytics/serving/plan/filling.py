"""Fills a plan's tables from the next-action model, so that a look-up expects what the model does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.serving.arrays import Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.knapsack import EXACT_ITEMS
from usage_analytics.serving.decisions.prewarms import Prewarms, no_prewarms
from usage_analytics.serving.plan.answer import Context
from usage_analytics.serving.plan.tables import DTYPES, PlanFacts, PlanTables, context_keys_of, entity_key

ENTRIES_PER_CONTEXT = EXACT_ITEMS  # so that a look-up finds the best selection of what is listed
CONTEXTS_AT_ONCE = 4096
NEAR_ONE = 0.02  # factors of entities that hardly differ from 1 are not listed


def tables_of(
    model: FactoredModel,
    contexts: Sequence[Context],
    economics: Economics,
    facts: PlanFacts,
    prices: Floats,
    slot_phases: Ints,
    entries_per_context: int = ENTRIES_PER_CONTEXT,
    prewarms: Prewarms | None = None,
) -> PlanTables:
    """The tables of a plan.

    contexts: those of `NGramModel.contexts` and `contexts_from_start`, the empty one among them. prewarms: without
    them nothing is fetched ahead. ValueError on other contexts, or on economics of other mini-apps.
    """
    if economics.mini_apps != model.mini_apps:
        raise ValueError("the economics are of other mini-apps than the model")
    distinct = list(dict.fromkeys(contexts))
    keys, transitions = _evidence(model.counts, distinct)
    order = np.argsort(keys)
    listed = [_listed(model, some, entries_per_context) for some in _portions([distinct[at] for at in order])]
    positions, probabilities, unlisted = (np.concatenate(parts) for parts in zip(*listed, strict=True))
    columns = {
        "saved_ms": economics.saved_ms,
        "cost_ms": economics.cost_ms,
        "payload_bytes": economics.payload_bytes,
        "context_keys": keys[order],
        "context_starts": np.arange(len(distinct) + 1) * positions.shape[1],
        "context_unlisted": unlisted,
        "transitions": transitions[order],
        "entry_positions": positions.ravel(),
        "entry_probabilities": probabilities.ravel(),
        "revisit_factors": model.factors.revisits[1:],
        "class_factors": model.factors.classes,
        "class_revisits": model.factors.class_revisits[:, 1:],
        "phase_factors": model.factors.phases,
        "user_keys": model.known.user_classes.keys,
        "user_classes": model.known.user_classes.classes,
        **_entities(model),
        "prices": prices,
        "slot_phases": slot_phases,
        **_prewarms(prewarms or no_prewarms(len(model.factors.classes), len(model.mini_apps))),
    }
    return PlanTables(facts, model.mini_apps, **{name: values.astype(DTYPES[name]) for name, values in columns.items()})


def population_probabilities(model: FactoredModel, contexts: Sequence[Context]) -> Floats:
    """What comes next after the contexts' last mini-apps alone: (contexts, mini_apps); rows sum to one.

    Not yet in it: what was opened before these, the user, what is in hand, the time. What opens a user session is as it
    was counted: the model's corrections are learned from what comes later.
    """
    probabilities = model.base.coded_probabilities(model.counts.encode(contexts))
    current = _current(model, contexts)
    going = model.factors.after[current + 1].astype(np.float64)
    _at_current(going, current, 1.0)
    weighted = probabilities ** float(model.factors.trust[0]) * going
    opening = [context == (None,) for context in contexts]
    weighted[opening] = probabilities[opening]
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True), np.float64)


def _listed(model: FactoredModel, contexts: list[Context], count: int) -> tuple[Ints, Floats, Floats]:
    """The likeliest mini-apps, their probabilities, and by class what all others weigh."""
    probabilities = population_probabilities(model, contexts)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    listed = np.take_along_axis(probabilities, best, axis=1)
    rest = probabilities.copy()
    np.put_along_axis(rest, best, 0.0, axis=1)
    current = _current(model, contexts)
    stays = np.where(current >= 0, rest[np.arange(len(rest)), current], 0.0)
    _at_current(rest, current, 0.0)
    return best, listed, rest @ model.factors.classes.T.astype(np.float64) + stays[:, None]


def _entities(model: FactoredModel) -> dict[str, npt.NDArray[np.generic]]:
    factors, names = model.factors, model.known.entities
    keys = np.array([entity_key(name) for name in names], np.uint64)
    keys, rows = np.unique(keys, return_index=True)  # of two entities with one key, either
    told = _told(factors)[1:][rows]
    owners, positions = np.nonzero(told)
    return {
        "entity_keys": keys,
        "entity_starts": np.append(0, np.cumsum(told.sum(axis=1))),
        "entity_positions": positions,
        "entity_factors": factors.entities[1:][rows][owners, positions],
        "entity_leads": factors.leads[1:][rows][owners, positions],
    }


def _prewarms(fetched: Prewarms) -> dict[str, npt.NDArray[np.generic]]:
    return {
        "prewarm_slots": fetched.slots,
        "prewarm_ends": fetched.ends,
        "prewarm_prices": fetched.prices,
        "prewarm_chances": fetched.chances,
    }


def _told(factors: Factors) -> npt.NDArray[np.bool_]:
    return np.asarray((factors.leads > 0) | (np.abs(factors.entities - 1.0) > NEAR_ONE), np.bool_)


def _current(model: FactoredModel, contexts: Sequence[Context]) -> Ints:
    position: dict[str | None, int] = {name: place for place, name in enumerate(model.mini_apps)}
    position[None] = -1
    return np.array([position[context[-1]] if context else -1 for context in contexts], np.int64)


def _at_current(matrix: Floats, current: Ints, value: float) -> None:
    rows = np.flatnonzero(current >= 0)
    matrix[rows, current[rows]] = value


def _evidence(model: NGramModel, contexts: list[Context]) -> tuple[npt.NDArray[np.uint64], Ints]:
    """Keys, and transitions seen, of the model's own contexts."""
    orders, transitions = model.evidence(contexts)
    codes, keys = model.encode(contexts), np.zeros(len(contexts), dtype=np.uint64)
    lengths = np.array([len(context) for context in contexts])
    foreign = np.flatnonzero(orders != lengths)
    if len(foreign):
        raise ValueError(f"the context {contexts[foreign[0]]} is none of the model's own")
    for length in np.unique(lengths):
        some = np.flatnonzero(lengths == length)
        keys[some] = context_keys_of(codes[some, :length], len(model.mini_apps))
    return keys, transitions


def _portions(contexts: list[Context]) -> Iterator[list[Context]]:
    return (contexts[first : first + CONTEXTS_AT_ONCE] for first in range(0, len(contexts), CONTEXTS_AT_ONCE))
