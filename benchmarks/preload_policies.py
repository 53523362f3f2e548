"""What ways to decide on preloads are worth on a trading day held out, by how much mini-apps differ.

    .venv/bin/python benchmarks/preload_policies.py
    .venv/bin/python benchmarks/preload_policies.py --spreads 0.5 --messages 500000 --users 5000    # half a minute

Walks of the simulated desktop (see planted_walks.py): counts of all days but the last, classes of users and factors by
the day before it. What preloads save is measured from the latencies and payloads of that day's openings; what each
costs is the simulator's own (`mini_apps.parquet` of its truth). Latency, payload and cost of mini-apps have the
log-standard-deviation `spread`. At most three preloads and 16 MB a moment. Guess.js, Chromium and the best threshold of
pairs go by how often a mini-app followed the open one, the others by the model; the best thresholds are those of the
largest net benefit on the very day on which they are judged.
"""

import argparse
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
from simulated_walks import ENTITIES, FOLDS, HELD_OUT, WalkedDay, batches, counts_of, openings_of, visits_of, walk

from usage_analytics.models.branching.factored_model import FactoredModel, learn_from_sessions
from usage_analytics.models.branching.latent_classes import learn_classes
from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.models.branching.user_sessions import NOTHING_KNOWN
from usage_analytics.reporting.terminal import print_table, progress
from usage_analytics.serving.decisions.economics import Economics, estimate_economics
from usage_analytics.serving.decisions.held_out import HeldOut
from usage_analytics.serving.judging.plan_comparison import BEST_OF_MODEL, BEST_OF_PAIRS, compare_policies
from usage_analytics.serving.judging.session_moments import held_out_moments
from usage_analytics.serving.plan.scope import BUDGET
from usage_analytics.simulation.catalogue import MINI_APPS, WALKED
from usage_analytics.simulation.events import app_traits
from usage_analytics.simulation.population import Population, population
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario, trading_days

LAST = date(2026, 11, 20)
NET, TOLD = "net_ms_per_transition", ("waiting_removed", "precision", "wasted_bytes_per_useful_byte")


def main() -> None:
    """A table for each spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spreads", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.8, 1.0])
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=2_000_000, help="of an ordinary day")
    parser.add_argument("--days", type=int, default=5, help="the last is held out")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    days = trading_days(("XNYS",), date(2026, 9, 1), LAST)[-chosen.days :]
    scenario = Scenario(days, chosen.seed, chosen.messages, chosen.users, trouble=NO_TROUBLE, lanes=1)
    model, moments = learn(population(scenario))
    for spread in chosen.spreads:
        economics = measured(replace(scenario, spread=spread), model.mini_apps)
        compared = compare_policies(model, moments, economics, BUDGET)
        rows = [
            (row["policy"], f"{row[NET]:,.1f}", *(f"{row[name] or 0:.3f}" for name in TOLD), int(row["calls"]))
            for row in compared.iter_rows(named=True)
        ]
        columns = ("", "net ms a step", "waiting removed", "precision", "wasted per useful byte", "preloads")
        print_table(f"Spread {spread:g}: {len(moments.moments):,} held-out steps", columns, rows)
        nets = dict(compared.select("policy", NET).rows())
        for name in (BEST_OF_PAIRS, BEST_OF_MODEL):
            print(f"expected value brings {nets['expected value'] / nets[name]:.2f} times the {name}")


def learn(everyone: Population) -> tuple[FactoredModel, HeldOut]:
    """The model of all days but the last, and what it expects on that one."""
    counted, earlier, now = [], None, np.zeros((len(everyone), len(WALKED)))
    with progress("trading days", len(everyone.scenario.days)) as advance:
        for day in everyone.scenario.days[:-1]:
            before = walk(everyone, day)
            counted.append(counts_of(before))
            earlier, now = now, now + visits_of(before, len(everyone))
            advance(1)
        held_out = walk(everyone, everyone.scenario.days[-1])
        advance(1)
    assert earlier is not None
    grams = pl.concat(counted).group_by("fold", "prev3", "prev2", "prev1", "next").agg(pl.col("transitions").sum())
    counts, classes = NGramModel.fit(grams), learn_classes(earlier, WALKED)
    without = NGramModel.fit(grams.filter(pl.col("fold") != HELD_OUT)).widened(counts.mini_apps)
    of_users = [classes.of(visits).astype(np.int64) for visits in (earlier, now)]
    lesson = batches(before, sessions(before, HELD_OUT), counts.mini_apps, of_users[0])
    factors = learn_from_sessions(without, lesson, len(classes), ENTITIES)
    model = FactoredModel(counts, factors, NOTHING_KNOWN)
    tested = batches(held_out, sessions(held_out, 0), counts.mini_apps, of_users[1])
    return model, held_out_moments(model, tested)


def sessions(day: WalkedDay, fold: int) -> np.ndarray:
    """Those of the users of a fold."""
    return np.flatnonzero(day.user % FOLDS == fold)


def measured(scenario: Scenario, mini_apps: tuple[str, ...]) -> Economics:
    """What was measured on the day before the last, where mini-apps differ by the scenario's spread."""
    day = walk(population(scenario), scenario.days[-2])
    costs = app_traits(scenario.seed, scenario.spread).preload_cost_ms
    known = {app: float(cost) for app, cost in zip(MINI_APPS, costs, strict=True) if app in mini_apps}
    return estimate_economics(openings_of(day), mini_apps, known_costs_ms=known)


if __name__ == "__main__":
    main()
