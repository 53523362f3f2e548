"""The preload plan as rows: what a look-up answers, never the current mini-app; abstaining is a row too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.serving.learned_economics import equal_economics
from usage_analytics.serving.plan_filling import tables_of
from usage_analytics.serving.plan_rows import PLAN_SCHEMA, plan_rows
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics_tests.serving.made_up_plans import FACTS
from usage_analytics_tests.serving.small_models import APPS, fit, without_factors

HARDLY_WORTH_IT_MS = 0.01  # so near to nothing, rows (32 bits) and answers (64) may differ


def planned(counts: NGramModel, contexts: Sequence[tuple[str, ...]]) -> tuple[PreloadPlan, pl.DataFrame]:
    model = without_factors(counts)
    all_contexts = [(), *(each for each in counts.contexts(2) if each)]
    tables = tables_of(model, all_contexts, equal_economics(model.mini_apps), FACTS, np.ones(36))
    plan = PreloadPlan(tables, "a")
    return plan, plan_rows(plan, contexts)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(APPS), min_size=2, max_size=6), min_size=1, max_size=10))
def test_rows_are_what_a_look_up_answers(sessions: list[list[str]]) -> None:
    counts = fit(*sessions)
    contexts = [(), *(each for each in counts.contexts(2) if each)]
    plan, rows = planned(counts, contexts)
    assert dict(rows.schema) == PLAN_SCHEMA
    for context in contexts:
        told = rows.filter((pl.col("context") == " > ".join(context)) & (pl.col("value_ms") > HARDLY_WORTH_IT_MS))
        answer = plan.next(None, context)
        items = [item for item in answer.items if item.value_ms > HARDLY_WORTH_IT_MS]
        assert told["mini_app"].to_list() == [item.mini_app for item in items]
        assert (context[-1] if context else None) not in told["mini_app"].to_list()
        for row, item in zip(told.iter_rows(named=True), items, strict=True):
            assert row["probability"] == pytest.approx(item.probability, rel=1e-4)
            assert row["value_ms"] == pytest.approx(item.value_ms, rel=1e-3, abs=1e-2)
            assert (row["saved_ms"], row["cost_ms"]) == (item.saved_ms, item.cost_ms)
            assert row["transitions"] == answer.transitions


def test_plan_abstains_where_the_user_nearly_always_stays() -> None:
    counts = fit(["chart"] * 500, ["quotes", "chat"], times=10)
    _, rows = planned(counts, [("chart",)])
    assert rows.select("rank", "mini_app", "probability", "value_ms").rows() == [(None, None, None, None)]


def test_no_contexts_make_no_rows() -> None:
    assert planned(fit(["quotes", "chart"]), [])[1].schema == PLAN_SCHEMA


@pytest.mark.parametrize("name", ["", "a > b", "a >"])
def test_names_that_read_like_a_context_are_left_out(name: str) -> None:
    counts = fit(["quotes", name, "chart", "quotes"])
    contexts = [(), *(each for each in counts.contexts(2) if each)]
    _, rows = planned(counts, contexts)
    assert name not in rows["mini_app"].to_list()
    assert not any(name in context.split(" > ") for context in rows["context"] if name)
    assert rows.filter(pl.col("context") == "chart")["mini_app"].to_list() == ["quotes"]
