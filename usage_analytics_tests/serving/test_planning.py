"""A plan's tables say what the model says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.models.branching.training import FILE, MODEL
from usage_analytics.serving.decisions import Budget
from usage_analytics.serving.plan_checks import check_tables
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.planning import equal_economics, make_plan, tables_of
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.trading_calendar import TradingClock
from usage_analytics_tests.serving.made_up_plans import FACTS
from usage_analytics_tests.serving.test_plan_rows import APPS, fit

DAY, MADE_AT = date(2026, 11, 23), datetime(2026, 11, 23, 23, tzinfo=UTC)
PRICES = np.ones(36)
ALL = Budget(100, 1e9)


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(APPS), min_size=1, max_size=6), min_size=1, max_size=10), st.integers(1, 5))
def test_a_look_up_gives_the_models_probabilities(sessions: list[list[str]], entries: int) -> None:
    model = fit(*sessions)
    contexts = [(), *(each for each in model.contexts(max_order=3) if each)]
    free = replace(equal_economics(model.mini_apps), cost_ms=np.zeros(len(model.mini_apps)))
    tables = tables_of(model, contexts, free, FACTS, PRICES, entries)
    check_tables(tables)
    plan = PreloadPlan(tables, "a")
    probabilities, (_, transitions) = model.probabilities(contexts), model.evidence(contexts)
    for row, context in enumerate(contexts):
        answer = plan.next(None, context, ALL)
        assert (answer.context, answer.transitions) == (context, transitions[row])
        likeliest = np.argsort(-probabilities[row], kind="stable")[:entries]
        expected = {model.mini_apps[place]: probabilities[row, place] for place in likeliest}
        expected.pop(context[-1] if context else "", None)
        assert {item.mini_app: item.probability for item in answer.items} == pytest.approx(expected, rel=1e-4)


def test_contexts_and_economics_of_others_are_refused() -> None:
    model = fit(["quotes", "chart"])
    economics = equal_economics(model.mini_apps)
    with pytest.raises(ValueError, match=r"the context \('never seen',\) is none of the model's own"):
        tables_of(model, [(), ("never seen",)], economics, FACTS, PRICES)
    with pytest.raises(ValueError, match="the economics are of other mini-apps than the model"):
        tables_of(model, [()], equal_economics(("chart", "news")), FACTS, PRICES)


def test_the_plan_of_a_day_is_one_in_the_warehouse_and_in_the_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "clicks")
    model = NGramModel.fit(fit(["quotes", "chart", "blotter"], ["chat", "quotes"], times=20).grams)
    model.save(layout.model(MODEL, DAY) / FILE)
    made = make_plan(layout, DAY, TradingClock(opening_hour=9, closing_hour=10), MADE_AT)
    facts = made.tables.facts
    assert (facts.trading_day, facts.created_at, facts.slot_minutes, len(made.tables.prices)) == (DAY, MADE_AT, 15, 4)
    plans = PlanFolder(tmp_path / "plans")
    plans.publish(made.tables)
    for context, rows in made.rows.group_by("context"):
        asked = [name for name in str(context[0]).split(" > ") if name]
        ranked = rows.drop_nulls("mini_app").sort("rank")
        answer = plans.current().next(None, asked)
        assert [item.mini_app for item in answer.items] == ranked["mini_app"].to_list()
        assert [item.probability for item in answer.items] == pytest.approx(ranked["probability"].to_list(), rel=1e-4)
        assert answer.transitions == rows["transitions"][0]


def test_without_a_model_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preload_plan of 2026-11-23: .*; materialize next_action_model first"):
        make_plan(Layout(tmp_path, "clicks"), DAY, TradingClock(), MADE_AT)
