"""Makes the preload plan of a trading day from its next-action model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

import numpy as np
import numpy.typing as npt
import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.models.branching.training import FILE, MODEL
from usage_analytics.serving.decisions import Budget
from usage_analytics.serving.economics import Economics
from usage_analytics.serving.knapsack import EXACT_ITEMS
from usage_analytics.serving.plan_rows import build_plan
from usage_analytics.serving.plan_tables import DTYPES, STEPS, USUAL_PRICE, PlanFacts, PlanTables, context_keys_of
from usage_analytics.trading_calendar import TradingClock

ITEMS_PER_CONTEXT = 3
MINIMUM_PROBABILITY = 0.05
MINIMUM_TRANSITIONS = 10  # a context seen less often is answered by a shorter one
ENTRIES_PER_CONTEXT = EXACT_ITEMS  # so that a look-up finds the best selection of what is listed
CONTEXTS_AT_ONCE = 4096
# Until waiting is measured, every mini-app is as worth preloading as the others, from MINIMUM_PROBABILITY on.
SAVED_MS = 1_000.0
BUDGET = Budget(calls=ITEMS_PER_CONTEXT, bytes=16e6)

Context = tuple[str, ...]


@dataclass(frozen=True)
class MadePlan:
    """A plan as rows of the warehouse, as `build_plan` gives them, and as what its file holds."""

    rows: pl.DataFrame
    tables: PlanTables


def make_plan(layout: Layout, trading_day: date, clock: TradingClock, made_at: datetime) -> MadePlan:
    """The plan of a trading day; `UserError` before it has a model."""
    path = layout.model(MODEL, trading_day) / FILE
    try:
        model = NGramModel.load(path)
    except (ValueError, OSError) as error:
        raise UserError(f"preload_plan of {trading_day}: {error}; materialize next_action_model first") from None
    rows = build_plan(model, _contexts(model, max_order=2), ITEMS_PER_CONTEXT, MINIMUM_PROBABILITY)
    facts = PlanFacts(
        trading_day=trading_day,
        model=MODEL,
        figures={"transitions": model.transitions},
        budget=BUDGET,
        created_at=made_at,
        timezone=clock.timezone,
        first_slot=time(clock.opening_hour),
        slot_minutes=clock.window_minutes,
    )
    prices = np.full(clock.windows_per_day, USUAL_PRICE)
    economics = equal_economics(model.mini_apps)
    return MadePlan(rows, tables_of(model, _contexts(model, model.max_order), economics, facts, prices))


def equal_economics(mini_apps: tuple[str, ...]) -> Economics:
    """Those of mini-apps of which nothing is known: a preload is worth it from MINIMUM_PROBABILITY on."""
    saved = np.full(len(mini_apps), SAVED_MS)
    return Economics(mini_apps, saved, saved * MINIMUM_PROBABILITY, np.zeros(len(mini_apps)))


def tables_of(
    model: NGramModel,
    contexts: Sequence[Context],
    economics: Economics,
    facts: PlanFacts,
    prices: npt.NDArray[np.float64],
    entries_per_context: int = ENTRIES_PER_CONTEXT,
) -> PlanTables:
    """A plan of the population alone: no users, no entities, and revisits make no difference.

    contexts: those of `model.contexts(...)`, the empty one among them. ValueError on others, or on economics of other
    mini-apps.
    """
    if economics.mini_apps != model.mini_apps:
        raise ValueError("the economics are of other mini-apps than the model")
    distinct = list(dict.fromkeys(contexts))
    keys, transitions = _evidence(model, distinct)
    order = np.argsort(keys)
    best = [_likeliest(model, some, entries_per_context) for some in _portions([distinct[at] for at in order])]
    positions, probabilities = (np.concatenate(parts) for parts in zip(*best, strict=True))
    width, mini_apps = positions.shape[1], len(model.mini_apps)
    return PlanTables(
        facts=facts,
        mini_apps=model.mini_apps,
        saved_ms=_cast("saved_ms", economics.saved_ms),
        cost_ms=_cast("cost_ms", economics.cost_ms),
        payload_bytes=_cast("payload_bytes", economics.payload_bytes),
        context_keys=keys[order],
        context_starts=_cast("context_starts", np.arange(len(distinct) + 1) * width),
        context_unlisted=_cast("context_unlisted", np.maximum(1.0 - probabilities.sum(axis=1, keepdims=True), 0.0)),
        transitions=_cast("transitions", transitions[order]),
        entry_positions=_cast("entry_positions", positions.ravel()),
        entry_probabilities=_cast("entry_probabilities", probabilities.ravel()),
        revisit_factors=_cast("revisit_factors", np.ones((len(STEPS), mini_apps))),
        class_factors=_cast("class_factors", np.ones((1, mini_apps))),
        class_revisits=_cast("class_revisits", np.ones((1, len(STEPS)))),
        user_keys=_cast("user_keys", []),
        user_classes=_cast("user_classes", []),
        entity_keys=_cast("entity_keys", []),
        entity_starts=_cast("entity_starts", [0]),
        entity_positions=_cast("entity_positions", []),
        entity_factors=_cast("entity_factors", []),
        entity_leads=_cast("entity_leads", []),
        prices=_cast("prices", prices),
    )


def _contexts(model: NGramModel, max_order: int) -> list[Context]:
    return [(), *(c for c in model.contexts(max_order, MINIMUM_TRANSITIONS) if c)]


def _evidence(model: NGramModel, contexts: list[Context]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
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


def _likeliest(
    model: NGramModel, contexts: list[Context], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    probabilities = model.probabilities(contexts)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return best, np.take_along_axis(probabilities, best, axis=1)


def _portions(contexts: list[Context]) -> Iterator[list[Context]]:
    return (contexts[first : first + CONTEXTS_AT_ONCE] for first in range(0, len(contexts), CONTEXTS_AT_ONCE))


def _cast(name: str, values: npt.ArrayLike) -> npt.NDArray[np.generic]:
    return np.asarray(values).astype(DTYPES[name])
