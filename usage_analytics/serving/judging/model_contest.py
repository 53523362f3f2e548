"""Counts against challengers on a trading day that none of them knows, each in the form in which a plan would use it.

A plan is asked by the last three mini-apps, for contexts that it lists. So a challenger is asked once after each of
these, and takes the place of the counts in the model of the day before, under the same factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.challengers.choice import COUNTS, Choice, choose_model, figures_of
from usage_analytics.models.branching.challengers.trained_challengers import Watch, train_challengers
from usage_analytics.models.branching.context_base import ContextBase, challenged_base, counted_base
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.scoring import Scores, Worth, score
from usage_analytics.models.branching.sequence_model import SequenceModel
from usage_analytics.models.branching.sessions.user_sessions import (
    FOLDS,
    NOTHING_KNOWN,
    Known,
    SessionBatch,
    read_sessions,
)
from usage_analytics.models.branching.training import MODEL, SESSIONS, model_before
from usage_analytics.serving.arrays import Floats, Ints
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.learned_economics import economics_of
from usage_analytics.serving.decisions.session_moments import moments_in
from usage_analytics.serving.judging.policies import ExpectedValue
from usage_analytics.serving.judging.replay import net_benefits
from usage_analytics.serving.plan.chosen_base import keep_choice
from usage_analytics.serving.plan.scope import BUDGET, contexts_of
from usage_analytics.warehouse.protocol import Warehouse

LEARNED_DAYS = 5  # trading days that challengers learn from
WHOLE_BATCHES = 8  # of sessions that models are shown whole: enough to tell them apart, and neighbours take long


def hold_contest(
    warehouse: Warehouse, layout: Layout, trading_day: date, watch: Watch = lambda _: None
) -> Choice | None:
    """Train challengers on the days before, choose, and keep what plans of this day and later ones are to use.

    None, and nothing kept, where no earlier day has a model and user sessions, or this one has none to judge by. Killed
    while training, it goes on from there. `UserError` before the day has a model.
    """
    folder, sample = layout.model(MODEL, trading_day), _sessions(layout, trading_day)
    before = model_before(layout, trading_day)
    learned = [day for day in layout.model_days(MODEL) if day < trading_day and _sessions(layout, day).exists()]
    learned = learned[-LEARNED_DAYS:]
    if before is None or not learned or not _tells(sample):
        return None
    try:
        model = FactoredModel.load(folder)
    except (UserError, OSError) as error:
        told = f"next_action_challengers of {trading_day}: {error}; materialize next_action_model first"
        raise UserError(told) from None
    trained = train_challengers([_sessions(layout, day) for day in learned], folder, watch)
    economics = economics_of(warehouse, trading_day - timedelta(days=1), before.mini_apps)
    choice = compete(before, trained.models, sample, economics, watch)
    about = {"learned_from": [day.isoformat() for day in learned], "not_trained": trained.absent}
    choice = Choice(choice.name, {**choice.evidence, **about})
    winner = trained.models.get(choice.name)
    base = None if winner is None else challenged_base(winner, model.counts, _listed(model.counts), folder)
    keep_choice(folder, choice, model.mini_apps, base)
    return choice


def compete(
    before: FactoredModel,
    challengers: Mapping[str, SequenceModel],
    sample: Path,
    economics: Economics,
    watch: Watch = lambda _: None,
) -> Choice:
    """Choose by a day's user sessions that none of them knows; costs are at price 1. ValueError where none tells.

    What each would tell is kept beside the sample while it is judged.
    """
    counts, contexts, worth = before.counts, _listed(before.counts), worth_of(economics, BUDGET)

    def judged(base: ContextBase) -> Scores:
        return score(before.with_base(base), _read(sample, before, before.known), worth)

    watch(f"{COUNTS}: judged as a plan would use it")
    scores = {COUNTS: judged(counted_base(counts, contexts, sample.parent))}
    for name, challenger in challengers.items():
        watch(f"{name}: judged as a plan would use it")
        scores[name] = judged(challenged_base(challenger, counts, contexts, sample.parent))
    choice = choose_model(scores)
    watch("all: judged by what they say of whole user sessions")
    evidence = {
        "chosen": choice.name,
        "model_of_the_day_before": str(counts.trading_day),
        "as_served": {name: choice.evidence[name] for name in scores},
        "whole_sessions": _whole_sessions(before, challengers, sample),
    }
    return Choice(choice.name, evidence)


def worth_of(economics: Economics, budget: Budget) -> Worth:
    """What preloading by expected value would have brought, at each prediction."""
    policy = ExpectedValue(economics, budget)

    def worth(batch: SessionBatch, probabilities: Floats) -> Floats:
        return net_benefits(policy, moments_in(batch, probabilities), economics, budget)

    return worth


def _whole_sessions(
    before: FactoredModel, challengers: Mapping[str, SequenceModel], sample: Path
) -> dict[str, dict[str, Any]]:
    """Figures of the models by themselves, of the same first user sessions."""
    of_before = score(before, islice(_read(sample, before, before.known), WHOLE_BATCHES))
    of_others = {
        name: score(model, islice(_read(sample, model, NOTHING_KNOWN), WHOLE_BATCHES))
        for name, model in challengers.items()
    }
    return {name: figures_of(scores) for name, scores in {COUNTS: of_before, **of_others}.items()}


def _read(sample: Path, model: SequenceModel, known: Known) -> Iterator[SessionBatch]:
    return read_sessions([sample], model.mini_apps, range(FOLDS), known)


def _listed(counts: NGramModel) -> Ints:
    return counts.encode(contexts_of(counts, counts.max_order))


def _sessions(layout: Layout, trading_day: date) -> Path:
    return layout.model(MODEL, trading_day) / SESSIONS


def _tells(sample: Path) -> bool:
    """Whether there is a file of user sessions with something to predict."""
    batches = read_sessions([sample], (), range(FOLDS)) if sample.exists() else ()
    return any(len(batch.sessions.following()) for batch in batches)
