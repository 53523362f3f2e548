"""Fits the next-action model of a trading day, and judges it on users and on a day that it did not see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.evaluation import Evaluation, evaluate, split_by_fold
from usage_analytics.models.branching.factored_model import FactoredModel, learn_from_sessions
from usage_analytics.models.branching.factors import Factors
from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.models.branching.scoring import Scores, score
from usage_analytics.models.branching.session_file import common_entities, write_sessions
from usage_analytics.models.branching.user_knowledge import classes_before, classes_now
from usage_analytics.models.branching.user_sessions import FOLDS, Known, read_sessions
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.session_sample import sampled_sessions, sampled_users
from usage_analytics.warehouse.transitions import transition_counts
from usage_analytics.warehouse.user_slices import UserSlice

MODEL, SESSIONS = "next_action_model", "sessions.parquet"
HELD_OUT_FOLD = 4
SAMPLED_EVENTS = 2_000_000
MOST_ENTITIES, LEAST_EVENTS = 4_096, 200  # entities that factors are learned for, and events of each


@dataclass(frozen=True)
class Trained:
    """A fitted model: where it is kept, what it learned from, how it did on what it had not seen."""

    folder: Path
    model: FactoredModel
    held_out_users: Evaluation | None  # the counts alone, fitted without these users
    held_out_day: Scores | None  # the model of the trading day before, on this one


def train(warehouse: Warehouse, layout: Layout, trading_day: date) -> Trained:
    """Fit on all users and keep the model. `UserError` where there is nothing to learn from."""
    counts = transition_counts(warehouse, until=trading_day)
    if counts.is_empty():
        raise UserError(f"next_action_model of {trading_day}: no transitions up to that day, nothing to learn from")
    folder = layout.model(MODEL, trading_day)
    users = sampled_users(warehouse, trading_day, SAMPLED_EVENTS)
    sessions = folder / SESSIONS
    write_sessions(sampled_sessions(warehouse, trading_day, users), sessions)
    model = _fit(warehouse, counts, trading_day, users, sessions)
    model.save(folder)
    before = model_before(layout, trading_day)
    return Trained(folder, model, judge(counts), judge_on(before, sessions) if before else None)


def model_before(layout: Layout, trading_day: date) -> FactoredModel | None:
    """The latest model of an earlier trading day that can be read."""
    for day in reversed([day for day in layout.model_days(MODEL) if day < trading_day]):
        try:
            return FactoredModel.load(layout.model(MODEL, day))
        except (FileNotFoundError, UserError):
            continue
    return None


def judge_day(warehouse: Warehouse, trading_day: date) -> Evaluation | None:
    """`judge` on the counts of all trading days up to one."""
    return judge(transition_counts(warehouse, until=trading_day))


def judge(counts: pl.DataFrame) -> Evaluation | None:
    """How counts of four folds of users predict the fifth; None where one side has nothing to go by."""
    inside = counts.filter(pl.col("prev1").is_not_null() & pl.col("fold").is_not_null())
    sides = inside.select(pl.col("fold") == HELD_OUT_FOLD).to_series().unique().len()
    if sides < 2:
        return None
    seen, held_out = split_by_fold(counts.drop_nulls("fold"), HELD_OUT_FOLD)
    return evaluate(NGramModel.fit(seen), held_out)


def judge_on(model: FactoredModel, sessions: Path) -> Scores | None:
    """How a model predicts user sessions of a day that it does not know; None where there is nothing to predict."""
    try:
        return score(model, read_sessions([sessions], model.mini_apps, range(FOLDS), model.known))
    except ValueError:
        return None


def _fit(
    warehouse: Warehouse, counts: pl.DataFrame, trading_day: date, users: UserSlice, sessions: Path
) -> FactoredModel:
    """Factors are learned from users who are not counted, of classes by what was known before the day."""
    model = NGramModel.fit(counts, trading_day=trading_day)
    classes, of_users = classes_before(warehouse, trading_day, users, model.mini_apps)
    entities = common_entities(sessions, MOST_ENTITIES, LEAST_EVENTS)
    factors = Factors.none(len(model.mini_apps), len(classes), len(entities))
    rest = counts.filter(pl.col("fold") != HELD_OUT_FOLD)
    if not rest.is_empty():
        uncounted = read_sessions([sessions], model.mini_apps, [HELD_OUT_FOLD], Known(entities, of_users))
        without = NGramModel.fit(rest, trading_day=trading_day, also=model.mini_apps)
        factors = learn_from_sessions(without, uncounted, len(classes), len(entities))
    return FactoredModel(model, factors, Known(entities, classes_now(warehouse, trading_day, classes)))
