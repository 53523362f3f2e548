"""Makes the preload plan of a trading day from its next-action model."""

from datetime import date

import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.models.branching.training import FILE, MODEL
from usage_analytics.serving.preload_plan import build_plan

ITEMS_PER_CONTEXT = 3
MINIMUM_PROBABILITY = 0.05
MINIMUM_TRANSITIONS = 10  # a context seen less often is answered by a shorter one


def make_plan(layout: Layout, trading_day: date) -> pl.DataFrame:
    """The plan's rows, as `build_plan` gives them."""
    path = layout.model(MODEL, trading_day) / FILE
    try:
        model = NGramModel.load(path)
    except (ValueError, OSError) as error:
        raise UserError(f"preload_plan of {trading_day}: {error}; materialize next_action_model first") from None
    contexts = model.contexts(max_order=2, minimum_transitions=MINIMUM_TRANSITIONS)
    return build_plan(model, [(), *(c for c in contexts if c)], ITEMS_PER_CONTEXT, MINIMUM_PROBABILITY)
