"""What ways to decide on preloads would have been worth on a trading day that the model did not know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl

from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.training import MODEL, SESSIONS, model_before
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.learned_economics import economics_of
from usage_analytics.serving.decisions.moments import KnownMoments
from usage_analytics.serving.decisions.session_moments import moments_of
from usage_analytics.serving.judging.policies import ExpectedValue, PairRule, baselines, pair_counts, pair_shares
from usage_analytics.serving.judging.replay import COMPARED, best_threshold, compare, compared
from usage_analytics.serving.judging.served_plan import replay_file
from usage_analytics.serving.plan.chosen_base import as_served
from usage_analytics.serving.plan.scope import BUDGET
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.planning import make_plan
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.trading_calendar import TradingCalendar
from usage_analytics.warehouse.protocol import Warehouse

BEST_OF_PAIRS, BEST_OF_MODEL = "best threshold of pairs", "best threshold of the model"


def compare_on(
    warehouse: Warehouse, layout: Layout, plans: PlanFolder, trading_day: date, calendar: TradingCalendar
) -> pl.DataFrame | None:
    """By the latest model of an earlier day and the costs known then; None without one, or with nothing to replay.

    Beside what the model would have decided with all that it knows: the plan of its day, by what that answers.
    """
    before = model_before(layout, trading_day)
    if before is None:
        return None
    model = as_served(layout, before).model
    moments = moments_of(layout, trading_day, model)
    if moments is None:
        return None
    known = trading_day - timedelta(days=1)
    decided = compare_policies(model, moments, economics_of(warehouse, known, model.mini_apps), BUDGET)
    plan = plan_of(warehouse, layout, plans, before, calendar)
    economics = economics_of(warehouse, known, plan.tables.mini_apps)
    served = replay_file(plan, layout.model(MODEL, trading_day) / SESSIONS, economics, len(moments.moments))
    return pl.concat([decided, compared(served)]).sort(COMPARED[0], descending=True, maintain_order=True)


def plan_of(
    warehouse: Warehouse, layout: Layout, plans: PlanFolder, model: FactoredModel, calendar: TradingCalendar
) -> PreloadPlan:
    """The plan of a model's trading day: the published one, else as it would be made now."""
    day = model.counts.trading_day
    assert day is not None  # models that were kept are of one
    published = plans.of_day(day)
    if published is not None:
        return published
    return PreloadPlan(make_plan(warehouse, layout, day, calendar, datetime.now(UTC)).tables, f"{day}, made again")


def compare_policies(model: FactoredModel, moments: KnownMoments, economics: Economics, budget: Budget) -> pl.DataFrame:
    """The rules of others, the best fixed thresholds there can be on these very moments, and expected value.

    One threshold is of the model's probabilities, one of shares of pairs, as others count them.
    """
    pairs = pair_counts(model.counts.grams.filter(pl.col("prev1").is_not_null()), model.mini_apps)
    of_model = best_threshold(moments, economics, budget)
    shares = replace(moments, probabilities=pair_shares(pairs, moments.moments))
    of_pairs = best_threshold(shares, economics, budget).least
    policies = (
        *baselines(pairs, economics, budget),
        PairRule(BEST_OF_PAIRS, pairs, of_pairs, 1, economics, budget),
        replace(of_model, name=BEST_OF_MODEL),
        ExpectedValue(economics, budget),
    )
    return compare(policies, moments, economics, budget)
