"""Fits the next-action model of a trading day from the transition mart, and judges it on users it did not see."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.evaluation import Evaluation, evaluate, split_by_fold
from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.transitions import transition_counts

MODEL, FILE = "next_action_model", "model.parquet"
HELD_OUT_FOLD = 4


@dataclass(frozen=True)
class Trained:
    """A fitted model: where it is kept, what it learned from, how it did on held-out users."""

    path: Path
    transitions: int
    mini_apps: int
    evaluation: Evaluation | None


def train(warehouse: Warehouse, layout: Layout, trading_day: date) -> Trained:
    """Fit on all users and keep the model; the evaluation is that of one fitted without some of them."""
    counts = transition_counts(warehouse, until=trading_day)
    if counts.is_empty():
        raise UserError(f"next_action_model of {trading_day}: no transitions up to that day, nothing to learn from")
    model = NGramModel.fit(counts, trading_day=trading_day)
    path = layout.model(MODEL, trading_day) / FILE
    model.save(path)
    return Trained(path, model.transitions, len(model.mini_apps), judge(counts))


def judge_day(warehouse: Warehouse, trading_day: date) -> Evaluation | None:
    """`judge` on the counts of all trading days up to one."""
    return judge(transition_counts(warehouse, until=trading_day))


def judge(counts: pl.DataFrame) -> Evaluation | None:
    """How a model fitted to four folds of users predicts the fifth; None where one side has nothing to go by."""
    inside = counts.filter(pl.col("prev1").is_not_null() & pl.col("fold").is_not_null())
    sides = inside.select(pl.col("fold") == HELD_OUT_FOLD).to_series().unique().len()
    if sides < 2:
        return None
    seen, held_out = split_by_fold(counts.drop_nulls("fold"), HELD_OUT_FOLD)
    return evaluate(NGramModel.fit(seen), held_out)
