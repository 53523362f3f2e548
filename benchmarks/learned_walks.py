"""What is learned from walks of the simulated desktop's users, and the day that is held out to judge it by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from simulated_walks import (
    ENTITIES,
    FOLDS,
    HELD_OUT,
    Ints,
    WalkedDay,
    batches,
    counts_of,
    openings_of,
    visits_of,
    walk,
)

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel, learn_from_sessions
from usage_analytics.models.branching.sessions.user_sessions import Known, SessionBatch
from usage_analytics.models.branching.users.latent_classes import learn_classes
from usage_analytics.models.branching.users.user_classes import UserClasses
from usage_analytics.reporting.terminal import progress
from usage_analytics.serving.decisions.economics import Economics, estimate_economics
from usage_analytics.simulation.catalogue import MINI_APPS, WALKED
from usage_analytics.simulation.events import app_traits
from usage_analytics.simulation.population import Population, population
from usage_analytics.simulation.scenario import Scenario

TESTED = 0  # the fold of users by whom the day held out is judged


@dataclass(frozen=True)
class ReadableDay:
    """A day as a model reads it."""

    walked: WalkedDay
    mini_apps: tuple[str, ...]
    classes: Ints  # (users,) as they are known on that day

    def of_all(self) -> Iterator[SessionBatch]:
        """The user sessions of all users."""
        return batches(self.walked, np.arange(len(self.walked.user)), self.mini_apps, self.classes)

    def of_fold(self, fold: int) -> Iterator[SessionBatch]:
        """Those of the users of a fold."""
        return batches(self.walked, np.flatnonzero(self.walked.user % FOLDS == fold), self.mini_apps, self.classes)


@dataclass(frozen=True)
class Learned:
    """The model of all days but the last, the last of these, and the one held out."""

    model: FactoredModel
    last: ReadableDay
    held_out: ReadableDay
    times_us: list[Ints]  # of all events, by day of those learned from


def learn(everyone: Population) -> Learned:
    """Counts are of all days but the last, classes of users and factors by the day before it."""
    counted, times_us, earlier, now = [], [], None, np.zeros((len(everyone), len(WALKED)))
    with progress("trading days", len(everyone.scenario.days)) as advance:
        for day in everyone.scenario.days[:-1]:
            before = walk(everyone, day)
            counted.append(counts_of(before))
            times_us.append(before.time_us)
            earlier, now = now, now + visits_of(before, len(everyone))
            advance(1)
        held_out = walk(everyone, everyone.scenario.days[-1])
        advance(1)
    assert earlier is not None
    grams = pl.concat(counted).group_by("fold", "prev3", "prev2", "prev1", "next").agg(pl.col("transitions").sum())
    counts, classes = NGramModel.fit(grams), learn_classes(earlier, WALKED)
    without = NGramModel.fit(grams.filter(pl.col("fold") != HELD_OUT)).widened(counts.mini_apps)
    of_users = [classes.of(visits).astype(np.int64) for visits in (earlier, now)]
    lesson = ReadableDay(before, counts.mini_apps, of_users[0]).of_fold(HELD_OUT)
    factors = learn_from_sessions(without, lesson, len(classes), ENTITIES)
    keys, entities = np.arange(len(everyone), dtype=np.uint64), tuple(map(str, range(ENTITIES)))
    model = FactoredModel(counts, factors, Known(entities, UserClasses(keys, of_users[1].astype(np.uint8))))
    days = [ReadableDay(walked, counts.mini_apps, of_users[1]) for walked in (before, held_out)]
    return Learned(model, *days, times_us)


def measured(scenario: Scenario, mini_apps: tuple[str, ...]) -> Economics:
    """What was measured on the day before the last, where mini-apps differ by the scenario's spread."""
    day = walk(population(scenario), scenario.days[-2])
    costs = app_traits(scenario.seed, scenario.spread).preload_cost_ms
    known = {app: float(cost) for app, cost in zip(MINI_APPS, costs, strict=True) if app in mini_apps}
    return estimate_economics(openings_of(day), mini_apps, known_costs_ms=known)
