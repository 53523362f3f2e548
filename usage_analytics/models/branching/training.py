"""Fits the next-action model of a trading day, and judges it on users and on a day that it did not see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path

import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.evaluation import Evaluation, evaluate
from usage_analytics.models.branching.factored_model import FactoredModel, Origin, learn_from_sessions
from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.models.branching.scoring import Scores, score
from usage_analytics.models.branching.sessions.session_file import common_entities, events_in, write_sessions
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, Known, read_sessions
from usage_analytics.models.branching.users.user_knowledge import classes_before, classes_now
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.session_sample import sampled_sessions, sampled_users
from usage_analytics.warehouse.transitions import counts_made, transition_counts
from usage_analytics.warehouse.user_slices import UserSlice

MODEL, SESSIONS = "next_action_model", "sessions.parquet"
HELD_OUT_FOLD = 4
SAMPLED_EVENTS = 2_000_000
THIN = 10  # times fewer sampled events than taught the factors so far: a half day is none, one that has begun is
MOST_MINI_APPS = 2_000  # memory and time grow with their square
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
    made = counts_made(warehouse, trading_day)  # before they are read: what comes after that is for the next model
    counts = transition_counts(warehouse, until=trading_day)
    if counts.is_empty():
        raise UserError(f"next_action_model of {trading_day}: no transitions up to that day, nothing to learn from")
    _refuse_too_many(counts.get_column("next").unique().sort().to_list())
    if made is None:
        raise UserError(f"next_action_model of {trading_day}: materialize app_transitions of that day first")
    folder = layout.model(MODEL, trading_day)
    users = sampled_users(warehouse, trading_day, SAMPLED_EVENTS)
    sessions = folder / SESSIONS
    write_sessions(sampled_sessions(warehouse, trading_day, users), sessions)
    before = model_before(layout, trading_day)
    fitted, part = NGramModel.fit(counts, trading_day=trading_day), _fit_part(counts)
    events = events_in(sessions)
    if before is not None and events * THIN < before.origin.lesson_events:
        model = _as_before(before, fitted, _kept(made, before.origin))
    else:
        model = _correct(warehouse, fitted, part, Origin(*made, str(trading_day), events), users, sessions)
    model.save(folder)
    return Trained(folder, model, _judge_part(part, counts), judge_on(before, sessions) if before else None)


def model_before(layout: Layout, trading_day: date) -> FactoredModel | None:
    """The latest model of an earlier trading day that can be read."""
    for day in reversed([day for day in layout.model_days(MODEL) if day < trading_day]):
        try:
            return FactoredModel.load(layout.model(MODEL, day))
        except (OSError, UserError):
            continue
    return None


def judge_day(warehouse: Warehouse, trading_day: date) -> Evaluation | None:
    """`judge` on the counts of all trading days up to one."""
    return judge(transition_counts(warehouse, until=trading_day))


def judge(counts: pl.DataFrame) -> Evaluation | None:
    """How counts of four folds of users predict the fifth; None where one side has nothing to go by."""
    return _judge_part(_fit_part(counts), counts)


def judge_on(model: FactoredModel, sessions: Path) -> Scores | None:
    """How a model predicts user sessions of a day that it does not know; None where there is nothing to predict."""
    batches = read_sessions([sessions], model.mini_apps, range(FOLDS), model.known)
    first = next((batch for batch in batches if len(batch.sessions.following())), None)
    return None if first is None else score(model, chain([first], batches))


def _kept(made: tuple[int, str | None], before: Origin) -> Origin:
    """A few thin days in a row are believed: else what was learned once would stand for ever."""
    return Origin(*made, before.lesson_day, before.lesson_events // 2)


def _as_before(before: FactoredModel, counts: NGramModel, origin: Origin) -> FactoredModel:
    """New counts with the factors, entities and classes of users of an earlier model: a thin day would unlearn them."""
    factors = before.factors.widened(before.mini_apps, counts.mini_apps)
    return FactoredModel(counts, factors, before.known, origin=origin)


def _fit_part(counts: pl.DataFrame) -> NGramModel | None:
    """The counts without the users of the fold that is held out; None where there are no others."""
    rest = counts.filter(pl.col("fold") != HELD_OUT_FOLD)
    return None if rest.is_empty() else NGramModel.fit(rest)


def _judge_part(part: NGramModel | None, counts: pl.DataFrame) -> Evaluation | None:
    """How it predicts the users that it lacks."""
    inside = counts.filter(pl.col("prev1").is_not_null() & pl.col("fold").is_not_null())
    sides = inside.select(pl.col("fold") == HELD_OUT_FOLD).to_series().unique().len()
    if part is None or sides < 2:
        return None
    return evaluate(part, counts.filter(pl.col("fold") == HELD_OUT_FOLD))


def _correct(
    warehouse: Warehouse, model: NGramModel, part: NGramModel | None, origin: Origin, users: UserSlice,
    sessions: Path,
) -> FactoredModel:  # fmt: skip
    """Factors are learned from users who are not counted, of classes by what was known before the day."""
    trading_day = model.trading_day
    assert trading_day is not None  # it was fitted for one
    classes, of_users = classes_before(warehouse, trading_day, users, model.mini_apps)
    entities = common_entities(sessions, MOST_ENTITIES, LEAST_EVENTS)
    factors = Factors.none(len(model.mini_apps), len(classes), len(entities))
    if part is not None:
        uncounted = read_sessions([sessions], model.mini_apps, [HELD_OUT_FOLD], Known(entities, of_users))
        factors = learn_from_sessions(part.widened(model.mini_apps), uncounted, len(classes), len(entities))
    known = Known(entities, classes_now(warehouse, trading_day, classes))
    return FactoredModel(model, factors, known, origin=origin)


def _refuse_too_many(mini_apps: list[str]) -> None:
    if len(mini_apps) > MOST_MINI_APPS:
        told = f"{len(mini_apps):,} mini-apps, such as {mini_apps[0]!r} and {mini_apps[-1]!r}"
        why = f"the model takes {MOST_MINI_APPS:,} at most; does the mapping take something else for mini_app?"
        raise UserError(f"next_action_model: {told}: {why}")
