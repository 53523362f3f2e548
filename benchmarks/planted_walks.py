"""How near the next-action model comes to the process that the simulator plants: log-loss on a trading day held out.

    .venv/bin/python benchmarks/planted_walks.py
    .venv/bin/python benchmarks/planted_walks.py --days 4 --messages 1000000 --users 5000    # a minute

Users of the simulated desktop walk from mini-app to mini-app, without trouble, for some trading days. Counts of all but
the last day, and the model's factors from those of the day before it that were not counted (a fifth of the users),
predict the last day; users have classes by what they opened before. "the planted process": the probability with which
each step was drawn, by one who knows the user's persona, the asset class of the user session and the instrument in
hand. Each line adds to the one before it. CPU seconds are of all threads.
"""

import argparse
import time
from datetime import date

import numpy as np
import polars as pl
from simulated_walks import (
    ENTITIES,
    FOLDS,
    HELD_OUT,
    Ints,
    Reals,
    WalkedDay,
    batches,
    counts_of,
    visits_of,
    walk,
)

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel, learn_from_sessions
from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.models.branching.scoring import score
from usage_analytics.models.branching.sequence_model import CountedSequences, SequenceModel
from usage_analytics.models.branching.sessions.user_sessions import NOTHING_KNOWN
from usage_analytics.models.branching.users.latent_classes import LatentClasses, learn_classes, no_classes
from usage_analytics.reporting.terminal import print_table, progress
from usage_analytics.simulation.catalogue import WALKED
from usage_analytics.simulation.population import population
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario, trading_days

LAST = date(2026, 11, 20)


def main() -> None:
    """Simulate, learn, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=10_000_000, help="of an ordinary day")
    parser.add_argument("--days", type=int, default=6, help="the last is held out")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    days = trading_days(("XNYS",), date(2026, 9, 1), LAST)[-chosen.days :]
    scenario = Scenario(days, chosen.seed, chosen.messages, chosen.users, trouble=NO_TROUBLE, lanes=1)
    everyone, counted = population(scenario), []
    visits = np.zeros((len(everyone), len(WALKED)))
    earlier, before, held_out = visits, None, None
    with progress("trading days", len(days)) as advance:
        for day in days:
            before, held_out = held_out, walk(everyone, day)
            if day != days[-1]:
                counted.append(counts_of(held_out))
                earlier, visits = visits, visits + visits_of(held_out, len(everyone))
            advance(1)
    assert before is not None and held_out is not None
    report(pl.concat(counted), (earlier, visits), before, held_out)


def report(counts: pl.DataFrame, visits: tuple[Reals, Reals], before: WalkedDay, held_out: WalkedDay) -> None:
    """Fit each step of the ladder, score it, print the table."""
    summed = counts.group_by("fold", "prev3", "prev2", "prev1", "next").agg(pl.col("transitions").sum())
    learned, tested = np.flatnonzero(before.user % FOLDS == HELD_OUT), np.flatnonzero(held_out.user % 7 == 0)
    steps = np.concatenate([held_out.likelihood[held_out.starts[s] + 1 : held_out.starts[s + 1]] for s in tested])
    planted = float(-np.log(steps).mean())
    started = time.process_time()
    model = NGramModel.fit(summed)
    print(f"{model.transitions:,} transitions counted, fitted in {time.process_time() - started:.1f} CPU s")
    without = NGramModel.fit(summed.filter(pl.col("fold") != HELD_OUT)).widened(model.mini_apps)
    found = learn_classes(visits[0], WALKED)
    nobody, earlier, now = (np.zeros(len(visits[0]), np.int64), *(found.of(each).astype(np.int64) for each in visits))

    def factored(classes: LatentClasses, entities: int) -> FactoredModel:
        lesson = batches(before, learned, without.mini_apps, earlier if len(classes) else nobody)
        factors = learn_from_sessions(without, lesson, len(classes), entities)
        if not entities:
            factors = with_entities(factors, ENTITIES)
        return FactoredModel(model, factors, NOTHING_KNOWN)

    rows: list[tuple[str, SequenceModel, Ints]] = [
        ("most frequent", CountedSequences(NGramModel.fit(summed, 0)), nobody),
        ("order-1 Markov", CountedSequences(NGramModel.fit(summed, 1)), nobody),
        ("counts", CountedSequences(model), nobody),
        ("with going back", factored(no_classes(WALKED), 0), nobody),
        ("with users", factored(found, 0), now),
        ("with entities", factored(found, ENTITIES), now),
    ]
    print_ladder(rows, held_out, tested, planted)
    print(f"classes of users: {len(found)}; {np.mean(now > 0):.1%} of the users have one")


def with_entities(factors: Factors, entities: int) -> Factors:
    """The same, knowing nothing of so many entities."""
    none = Factors.none(factors.revisits.shape[1], 0, entities)
    return Factors(**{**factors.arrays(), "entities": none.entities, "leads": none.leads})


def print_ladder(
    rows: list[tuple[str, SequenceModel, Ints]], held_out: WalkedDay, tested: Ints, planted: float
) -> None:
    """Score each on the held-out day."""
    lines = []
    for name, model, classes in rows:
        started = time.process_time()
        found = score(model, batches(held_out, tested, model.mini_apps, classes))
        figures = (found.recall_at_1, found.recall_at_3, found.log_loss, found.calibration_error)
        told = tuple(f"{figure:.4f}" for figure in figures)
        lines.append((name, *told, f"{found.log_loss / planted - 1:.1%}", time.process_time() - started))
    lines.append(("the planted process", "", "", f"{planted:.4f}", "", "", ""))
    columns = ("", "R@1", "R@3", "log-loss", "ECE", "above planted", "CPU s to score")
    print_table(f"Simulator, {len(tested):,} held-out user sessions", columns, lines)


if __name__ == "__main__":
    main()
