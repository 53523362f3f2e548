"""How well the next-action model predicts recorded sequences, beside n-grams of the textbooks and challengers.

    .venv/bin/python benchmarks/next_actions.py ../shared/data                    # msnbc and three event logs
    .venv/bin/python benchmarks/next_actions.py ../shared/data --only msnbc --neural    # [ai] extra; half an hour

msnbc: the users of every fifth line (index % 5 == 4) are held out; "repeats removed": a category that follows itself
counts once. Event logs: the fifth of the cases that began last; that a case ends is an event too. All events of those
held out but the first of each are predicted. Counts learn from all others, factors from one fifth that is then not
counted; challengers (--neural) are stopped early, or calibrated, by some that they do not learn from. No record tells
users apart, or entities, so factors are of going back and of what is open. CPU seconds are of all threads.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import polars as pl
from n_gram_baselines import NGrams
from recorded_sessions import HELD_OUT, event_log, msnbc, transition_counts, without_repeats, write_sessions

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel, learn_from_sessions
from usage_analytics.models.branching.scoring import Scores, score
from usage_analytics.models.branching.sequence_model import CountedSequences, SequenceModel
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, NOTHING_KNOWN, read_sessions
from usage_analytics.reporting.terminal import print_table

LEARNED = tuple(range(HELD_OUT))
FIT, VALIDATION = LEARNED[:-1], LEARNED[-1]
LOGS = ("sepsis", "hospital_billing", "traffic_fines")
EPOCHS = 14
TIMED = "next-action model, with the time of day"


def main() -> None:
    """A table for each record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with msnbc/ and event_logs/")
    parser.add_argument("--only", choices=("msnbc", *LOGS), help="one record")
    parser.add_argument("--orders", type=int, default=6, help="of the textbooks' n-grams, at most")
    parser.add_argument("--neural", action="store_true", help="challengers too")
    chosen = parser.parse_args()
    for title, read in records(chosen.data, chosen.only):
        with tempfile.TemporaryDirectory() as folder:
            visits, path = read(), Path(folder) / "sessions.parquet"
            write_sessions(visits.drop("phase", strict=False), path)
            write_sessions(visits, timed(path))
            measure(title, path, visits, chosen.orders, chosen.neural)


def records(data: Path, only: str | None) -> Iterator[tuple[str, Callable[[], pl.DataFrame]]]:
    """The asked ones, by title."""
    if only in (None, "msnbc"):
        archive = data / "msnbc" / "msnbc990928.zip"
        yield "msnbc, repeats removed", lambda: without_repeats(msnbc(archive))
        yield "msnbc, with repeats", lambda: msnbc(archive)
    for name in LOGS:
        if only in (None, name):
            yield name, partial(event_log, data / "event_logs" / f"{name}.csv")


def measure(title: str, path: Path, visits: pl.DataFrame, orders: int, neural: bool) -> None:
    """Fit each model, score it, print the figures."""
    learned = transition_counts(visits.filter(pl.col("fold") != HELD_OUT))
    apps = NGramModel.fit(learned, 0).mini_apps
    seen = everything(path, apps)
    fits: dict[str, Callable[[], SequenceModel]] = {"most frequent": lambda: NGrams("back-off", 0, seen, apps)}
    for order in range(1, orders + 1):
        for rule in ("back-off", "Witten-Bell", "Kneser-Ney"):
            fits[f"{rule}, order {order}"] = partial(NGrams, rule, order, seen, apps)
    fits["counts alone"] = lambda: CountedSequences(NGramModel.fit(learned))
    fits["next-action model"] = lambda: factored(learned, path)
    if "phase" in visits.columns:
        fits[TIMED] = lambda: factored(learned, timed(path))
    if neural:
        fits["session-kNN"] = lambda: neighbours(path)
        fits["GRU"] = lambda: gru(visits)
    rows = []
    for name, fit in fits.items():
        started = time.process_time()
        model = fit()
        fitted = time.process_time()
        sessions = timed(path) if name == TIMED else path
        scores = score(model, read_sessions([sessions], model.mini_apps, [HELD_OUT]))
        rows.append((name, *figures(scores), fitted - started, time.process_time() - fitted))
    columns = ("", "R@1", "R@3", "log-loss", "ECE", "CPU s to fit", "CPU s to score")
    print_table(f"{title}: {scores.predictions:,} predictions", columns, rows)


def timed(path: Path) -> Path:
    """The file that also tells the time of day, beside the one that does not."""
    return path.with_name("timed.parquet")


def everything(path: Path, apps: tuple[str, ...]) -> CodedSessions:
    """All user sessions to learn from, in one piece."""
    batches = [batch.sessions for batch in read_sessions([path], apps, LEARNED)]
    return CodedSessions.of([session for some in batches for session in separate(some)])


def separate(sessions: CodedSessions) -> Iterator[list[int]]:
    """The codes of each."""
    for begin, end in zip(sessions.starts[:-1], sessions.starts[1:], strict=True):
        yield sessions.codes[begin:end].tolist()


def factored(learned: pl.DataFrame, path: Path) -> FactoredModel:
    """The platform's model, as its asset learns it."""
    model = NGramModel.fit(learned)
    without = NGramModel.fit(learned.filter(pl.col("fold") != VALIDATION)).widened(model.mini_apps)
    lesson = read_sessions([path], model.mini_apps, [VALIDATION])
    return FactoredModel(model, learn_from_sessions(without, lesson, 0, 0), NOTHING_KNOWN)


def neighbours(path: Path) -> SequenceModel:
    """Session-kNN."""
    from usage_analytics.models.branching.challengers.neighbour_model import fit_neighbours

    return fit_neighbours([path], FIT, VALIDATION)


def gru(visits: pl.DataFrame) -> SequenceModel:
    """The GRU, on one core as the others; a fifth of the last fold suffices to stop it, the rest it learns from too."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from usage_analytics.models.branching.challengers.gru_training import GruSettings, train_gru

    spared = (pl.col("fold") == VALIDATION) & (pl.col("user") // FOLDS % FOLDS != 0)
    dealt = visits.with_columns(pl.when(spared).then(FIT[0]).otherwise(pl.col("fold")).alias("fold"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.parquet"
        write_sessions(dealt, path)
        return train_gru([path], Path(folder) / "state", FIT, VALIDATION, GruSettings(epochs=EPOCHS)).model


def figures(scores: Scores) -> tuple[str, ...]:
    """To four digits: differences between models are small."""
    values = (scores.recall_at_1, scores.recall_at_3, scores.log_loss, scores.calibration_error)
    return tuple(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    main()
