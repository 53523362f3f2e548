"""The preload plan as rows: never the current mini-app, nothing below the minimum, abstaining is a row too."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.serving.plan_rows import PLAN_SCHEMA, build_plan

APPS = ("blotter", "chart", "chat", "quotes")
SCHEMA = {
    "prev3": pl.String,
    "prev2": pl.String,
    "prev1": pl.String,
    "next": pl.String,
    "transitions": pl.Int64,
}


def fit(*sessions: list[str], times: int = 1) -> NGramModel:
    rows: list[tuple[str | int | None, ...]] = []
    for session in sessions:
        padded: list[str | None] = [None, None, None, *session]
        rows.extend((*padded[i : i + 4], times) for i in range(len(session)))
    return NGramModel.fit(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(APPS), min_size=1, max_size=6), min_size=1, max_size=10),
    st.integers(1, 5),
    st.sampled_from((0.0, 0.05, 0.3, 1.0)),
)
def test_plan_never_proposes_the_current_mini_app(sessions: list[list[str]], items: int, minimum: float) -> None:
    model = fit(*sessions)
    contexts = model.contexts(2)
    plan = build_plan(model, contexts, items, minimum)
    assert dict(plan.schema) == PLAN_SCHEMA
    assert plan["context"].n_unique() == len(contexts)
    for context, _, rank, name, probability, transitions in plan.drop_nulls().iter_rows():
        assert name != context.split(" > ")[-1]
        assert rank <= items
        assert probability >= minimum
        assert transitions > 0


def test_plan_abstains_where_the_user_nearly_always_stays() -> None:
    model = fit(["chart"] * 50, ["quotes", "chat"], times=10)
    silent = build_plan(model, model.contexts(1), 3, 0.2).filter(pl.col("context") == "chart")
    assert silent.select("rank", "mini_app", "probability").rows() == [(None, None, None)]


def test_no_contexts_make_no_rows() -> None:
    assert build_plan(fit(["quotes", "chart"]), [], 3, 0.1).schema == PLAN_SCHEMA


@pytest.mark.parametrize(
    ("contexts", "items", "minimum", "message"),
    [
        ([()], 0, 0.1, "items_per_context"),
        ([()], 1, 1.5, "minimum_probability"),
        ([("never seen",)], 1, 0.1, "none of the model's own"),
    ],
)
def test_unfit_requests_are_refused(contexts: list[tuple[str, ...]], items: int, minimum: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_plan(fit(["quotes", "chart"]), contexts, items, minimum)


@pytest.mark.parametrize("name", ["", "a > b", "a >"])
def test_names_that_read_like_a_context_are_left_out(name: str) -> None:
    model = fit(["quotes", name, "chart", "quotes"])
    plan = build_plan(model, model.contexts(max_order=2), 3, 0.0)
    assert name not in plan["mini_app"].to_list()
    assert not any(name in context.split(" > ") for context in plan["context"] if name)
    assert plan.filter(pl.col("context") == "chart")["mini_app"].to_list() == ["quotes"]
