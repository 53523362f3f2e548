"""The preload plan as rows: what followed, never the current mini-app, ranked by worth; abstaining is a row too."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.learned_economics import equal_economics
from usage_analytics.serving.plan.rows import PLAN_SCHEMA, plan_rows
from usage_analytics_tests.serving.small_models import APPS, fit, with_factors, without_factors

BUDGET = Budget(calls=2, bytes=1e9)


def planned(counts: NGramModel, contexts: Sequence[tuple[str, ...]]) -> pl.DataFrame:
    model = without_factors(counts)
    return plan_rows(model, contexts, equal_economics(model.mini_apps), BUDGET)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(APPS), min_size=2, max_size=6), min_size=1, max_size=10))
def test_rows_tell_what_followed_and_what_it_is_worth(sessions: list[list[str]]) -> None:
    counts = fit(*sessions)
    contexts = [(), *(each for each in counts.contexts(2) if each)]
    rows = planned(counts, contexts)
    assert dict(rows.schema) == PLAN_SCHEMA
    assert rows.unique("context", maintain_order=True)["context"].to_list() == [" > ".join(each) for each in contexts]
    told, (_, seen) = counts.probabilities(contexts), counts.evidence(contexts)
    for number, context in enumerate(contexts):
        of_context = rows.filter(pl.col("context") == " > ".join(context)).drop_nulls("rank")
        assert of_context["rank"].to_list() == list(range(1, of_context.height + 1)) and of_context.height <= 2
        assert of_context["value_ms"].is_sorted(descending=True) and (of_context["value_ms"] > 0).all()
        for row in of_context.iter_rows(named=True):
            assert row["mini_app"] not in context[-1:]
            assert row["probability"] == pytest.approx(told[number, counts.mini_apps.index(row["mini_app"])])
            assert row["value_ms"] == pytest.approx(row["probability"] * row["saved_ms"] - row["cost_ms"])
            assert row["transitions"] == seen[number]


def test_factors_of_what_was_opened_before_are_not_in_rows() -> None:
    """They tell what follows whatever came before, as it happened."""
    counts = fit(["quotes", "chart", "blotter", "chat", "quotes", "chart", "chat"], times=30)
    economics = equal_economics(counts.mini_apps)
    plain, corrected = (
        plan_rows(model, [("chart",)], economics, BUDGET)["probability"].to_list()
        for model in (without_factors(counts), with_factors(counts, seed=1))
    )
    assert plain == corrected


def test_plan_abstains_where_the_user_nearly_always_stays() -> None:
    counts = fit(["chart"] * 500, ["quotes", "chat"], times=10)
    rows = planned(counts, [("chart",)])
    assert rows.select("rank", "mini_app", "probability", "value_ms").rows() == [(None, None, None, None)]


def test_no_contexts_make_no_rows() -> None:
    assert planned(fit(["quotes", "chart"]), []).schema == PLAN_SCHEMA


@pytest.mark.parametrize("name", ["", "a > b", "a >"])
def test_names_that_read_like_a_context_are_left_out(name: str) -> None:
    counts = fit(["quotes", name, "chart", "quotes"])
    contexts = [(), *(each for each in counts.contexts(2) if each)]
    rows = planned(counts, contexts)
    assert name not in rows["mini_app"].to_list()
    assert not any(name in context.split(" > ") for context in rows["context"] if name)
    assert rows.filter(pl.col("context") == "chart")["mini_app"].to_list() == ["quotes"]
