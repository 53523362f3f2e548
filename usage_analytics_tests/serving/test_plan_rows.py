"""The preload plan: never the current mini-app, nothing below the minimum, back-off at look-up."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.ngrams import NextActionModel
from usage_analytics.serving.preload_plan import PLAN_SCHEMA, PreloadPlan, build_plan

APPS = ("blotter", "chart", "chat", "quotes")
SCHEMA = {
    "prev3": pl.String,
    "prev2": pl.String,
    "prev1": pl.String,
    "next": pl.String,
    "transitions": pl.Int64,
}


def fit(*sessions: list[str], times: int = 1) -> NextActionModel:
    rows: list[tuple[str | int | None, ...]] = []
    for session in sessions:
        padded: list[str | None] = [None, None, None, *session]
        rows.extend((*padded[i : i + 4], times) for i in range(len(session)))
    return NextActionModel.fit(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(APPS), min_size=1, max_size=6), min_size=1, max_size=10),
    st.integers(1, 5),
    st.sampled_from((0.0, 0.05, 0.3, 1.0)),
    st.lists(st.sampled_from((*APPS, "never seen")), max_size=4),
)
def test_plan_never_proposes_the_current_mini_app(
    sessions: list[list[str]], items: int, minimum: float, asked: list[str]
) -> None:
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
    answer = PreloadPlan(plan).next(asked)
    assert all(item.mini_app != asked[-1] for item in answer if asked)
    assert [item.probability for item in answer] == sorted((i.probability for i in answer), reverse=True)


def test_look_up_backs_off_and_names_the_context_that_answered() -> None:
    model = fit(["quotes", "chart", "blotter"], ["chat", "chart", "quotes"], times=100)
    plan = PreloadPlan(build_plan(model, model.contexts(2, minimum_transitions=10), 2, 0.05))
    longest = plan.next(["research", "quotes", "chart"])
    assert (longest[0].mini_app, longest[0].context, longest[0].transitions) == (
        "blotter",
        ("quotes", "chart"),
        100,
    )
    shorter = plan.next(["blotter", "chart"])
    assert {item.context for item in shorter} == {("chart",)}
    assert shorter[0].transitions == 200
    assert plan.answering_context(["research"]) == ()
    assert [item.rank for item in plan.next([])] == [1, 2]


def test_plan_abstains_where_the_user_nearly_always_stays() -> None:
    model = fit(["chart"] * 50, ["quotes", "chat"], times=10)
    frame = build_plan(model, model.contexts(1), 3, 0.2)
    silent = frame.filter(pl.col("context") == "chart")
    assert silent.select("rank", "mini_app", "probability").row(0) == (None, None, None)
    plan = PreloadPlan(frame)
    assert plan.next(["chart"]) == []
    assert plan.answering_context(["chart"]) == ("chart",)


def test_plan_survives_parquet(tmp_path: Path) -> None:
    model = fit(["quotes", "chart", "blotter"], ["chat", "chart", "quotes"], times=9)
    frame = build_plan(model, model.contexts(2), 3, 0.01)
    frame.write_parquet(tmp_path / "plan.parquet")
    read = PreloadPlan(pl.read_parquet(tmp_path / "plan.parquet").reverse())
    assert read.next(["quotes", "chart"]) == PreloadPlan(frame).next(["quotes", "chart"])


def test_empty_plan_answers_nothing() -> None:
    plan = PreloadPlan(build_plan(fit(["quotes", "chart"]), [], 3, 0.1))
    assert plan.next(["quotes"]) == []
    assert plan.answering_context(["quotes"]) is None


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
    assert [item.mini_app for item in PreloadPlan(plan).next(["chart"])] == ["quotes"]


def test_malformed_plans_are_refused() -> None:
    frame = build_plan(fit(["quotes", "chart"]), [()], 3, 0.0)
    with pytest.raises(ValueError, match="lacks the columns"):
        PreloadPlan(frame.drop("rank"))
    with pytest.raises(ValueError, match="ranks twice"):
        PreloadPlan(pl.concat([frame, frame]))
    with pytest.raises(TypeError, match="a sequence of mini-apps"):
        PreloadPlan(frame).next("chart")
