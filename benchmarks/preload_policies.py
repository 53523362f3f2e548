"""What ways to decide on preloads are worth on a trading day held out, by how much mini-apps differ.

    .venv/bin/python benchmarks/preload_policies.py
    .venv/bin/python benchmarks/preload_policies.py --spreads 0.5 --messages 500000 --users 5000    # half a minute

Walks of the simulated desktop (see planted_walks.py): counts of all days but the last, classes of users and factors by
the day before it. What preloads save is measured from the latencies and payloads of that day's openings; what each
costs is the simulator's own (`mini_apps.parquet` of its truth). Latency, payload and cost of mini-apps have the
log-standard-deviation `spread`. At most three preloads and 16 MB a moment. Guess.js, Chromium and the best threshold of
pairs go by how often a mini-app followed the open one, the others by the model; the best thresholds are those of the
largest net benefit on the very day on which they are judged. "expected value of pairs" decides as the plan does, but by
these shares of pairs: what the rule is worth without the model. The plan is asked itself, by its own lists, at
price 1 as all others are.
"""

import argparse
from dataclasses import replace
from datetime import UTC, date, datetime, time

import numpy as np
import polars as pl
from learned_walks import TESTED, learn, measured

from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.reporting.terminal import print_table
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.moments import KnownMoments
from usage_analytics.serving.decisions.session_moments import known_moments
from usage_analytics.serving.judging.plan_comparison import BEST_OF_MODEL, BEST_OF_PAIRS, compare_policies
from usage_analytics.serving.judging.policies import ExpectedValue, pair_counts, pair_shares
from usage_analytics.serving.judging.replay import compare
from usage_analytics.serving.judging.replay import compared as table_of
from usage_analytics.serving.judging.served_plan import AT_PRICE_1, replay_plan
from usage_analytics.serving.plan.filling import tables_of
from usage_analytics.serving.plan.scope import BUDGET, contexts_of
from usage_analytics.serving.plan.tables import PlanFacts
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.simulation.population import population
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario, trading_days

LAST = date(2026, 11, 20)
MODEL, PAIRS = "expected value", "expected value of pairs"
MADE_AT = datetime(2026, 11, 20, tzinfo=UTC)
FACTS = PlanFacts(LAST, "counts", 0, BUDGET, MADE_AT, "America/New_York", time(8), 15, (LAST,))
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
    learned = learn(population(scenario))
    model = learned.model
    moments = known_moments(model, learned.held_out.of_fold(TESTED))
    contexts = contexts_of(model.counts, model.counts.max_order)
    for spread in chosen.spreads:
        economics = measured(replace(scenario, spread=spread), model.mini_apps)
        compared = compare_policies(model, moments, economics, BUDGET)
        plan = PreloadPlan(
            tables_of(model, contexts, economics, FACTS, np.ones(1), np.zeros(1, np.int64)), "of the days before"
        )
        served = replay_plan(
            plan, learned.held_out.of_fold(TESTED), model.known.entities, economics, len(moments.moments)
        )[AT_PRICE_1]
        others = table_of({AT_PRICE_1: served}), by_pairs(model, moments, economics)
        compared = pl.concat([compared, *others]).sort(NET, descending=True)
        rows = [
            (row["policy"], f"{row[NET]:,.1f}", *(f"{row[name] or 0:.3f}" for name in TOLD), int(row["calls"]))
            for row in compared.iter_rows(named=True)
        ]
        columns = ("", "net ms a step", "waiting removed", "precision", "wasted per useful byte", "preloads")
        print_table(f"Spread {spread:g}: {len(moments.moments):,} held-out steps", columns, rows)
        nets = dict(compared.select("policy", NET).rows())
        for rule, beaten in ((MODEL, BEST_OF_PAIRS), (MODEL, BEST_OF_MODEL), (PAIRS, BEST_OF_PAIRS)):
            print(f"{rule} brings {nets[rule] / nets[beaten]:.2f} times the {beaten}")
        print(f"{AT_PRICE_1} brings {nets[AT_PRICE_1] / nets[MODEL]:.1%} of {MODEL}")


def by_pairs(model: FactoredModel, moments: KnownMoments, economics: Economics) -> pl.DataFrame:
    """The rule of expected value by how often a mini-app followed the open one."""
    pairs = pair_counts(model.counts.grams.filter(pl.col("prev1").is_not_null()), model.mini_apps)
    shares = replace(moments, probabilities=pair_shares(pairs, moments.moments))
    row = compare([ExpectedValue(economics, BUDGET)], shares, economics, BUDGET)
    return row.with_columns(pl.lit(PAIRS).alias("policy"))


if __name__ == "__main__":
    main()
