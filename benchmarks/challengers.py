"""How the challengers of the count model do beside it on recorded visits: the msnbc file, with and without repeats.

    .venv/bin/pip install -e '.[ai]'
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/challengers.py ../shared/data/msnbc/msnbc990928.zip

The users of every fifth line (index % 5 == 4) are held out. The counts learn from all others; the challengers from
three of the other four fifths, and by the fourth (index % 5 == 3) they are stopped early or calibrated. All events of
the held-out users but the first of each are predicted. "repeats removed": a category that follows itself counts once.
CPU seconds are of all threads. The file tells no times and no net benefit, so only log-losses are compared at the end,
paired by user.
"""

import argparse
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.models.branching.challengers.choice import COUNTS, choose_model
from usage_analytics.models.branching.challengers.gru_training import GruSettings, Standing, train_gru
from usage_analytics.models.branching.challengers.neighbour_model import fit_neighbours
from usage_analytics.models.branching.challengers.scoring import Scores, score
from usage_analytics.models.branching.challengers.sequence_model import CountedSequences, SequenceModel
from usage_analytics.models.branching.ngrams import NGramModel
from usage_analytics.models.branching.user_sessions import SESSION_SCHEMA, read_sessions
from usage_analytics.reporting.terminal import print_table, progress

DAY = date(1999, 9, 28)
PACE_US = 20_000_000
SPREAD = 2_654_435_761  # Knuth's multiplicative hash: starts spread evenly over four hours, without a random number
FIT, VALIDATION, HELD_OUT = (0, 1, 2), 3, 4
GRU, NEIGHBOURS = "GRU", "session-kNN"


def main() -> None:
    """Measure on both readings of the file and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("visits", type=Path, help="msnbc990928.zip of the UCI repository")
    parser.add_argument("--epochs", type=int, default=10, help="of the GRU, at most")
    parser.add_argument("--users", type=int, default=0, help="only so many, the file's first")
    parser.add_argument("--reading", choices=("repeats kept", "repeats removed"), help="one reading only")
    chosen = parser.parse_args()
    visits = read_visits(chosen.visits, chosen.users)
    for reading in [chosen.reading] if chosen.reading else ["repeats removed", "repeats kept"]:
        changed = pl.col("mini_app").ne_missing(pl.col("mini_app").shift(1).over("user"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sessions.parquet"
            kept = visits.filter(changed) if reading == "repeats removed" else visits
            write_sessions(kept, path)
            measure(reading, path, kept, replace(GruSettings(), epochs=chosen.epochs))


def read_visits(path: Path, users: int) -> pl.DataFrame:
    """User (line number) and mini-app of each visit, in order."""
    with zipfile.ZipFile(path) as archive:
        head, text = archive.read(archive.namelist()[0]).decode("ascii").split("% Sequences:")
    names = next(line.split() for line in head.splitlines() if line.strip() and not line.startswith("%"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    visits = pl.DataFrame({"visits": lines[: users or None]}).with_row_index("user")
    names_by_number = {str(number): name for number, name in enumerate(names, start=1)}
    return (
        visits.select(pl.col("user").cast(pl.Int64), pl.col("visits").str.split(" ").alias("mini_app"))
        .explode("mini_app")
        .with_columns(pl.col("mini_app").replace_strict(names_by_number))
    )


def write_sessions(visits: pl.DataFrame, path: Path) -> None:
    """One user session for each user, at a made-up time."""
    sessions = visits.group_by("user", maintain_order=True).agg(pl.col("mini_app")).sort("user")
    users, lengths = sessions["user"].to_numpy(), sessions["mini_app"].list.len().to_numpy()
    starts = np.repeat(users * SPREAD % 2**32 * (4 * 3600 * 1_000_000 // 2**12) // 2**20, lengths)
    offsets = np.append(0, np.cumsum(lengths, dtype=np.int32)).astype(np.int32)
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    columns = [
        pa.array([DAY] * len(users)),
        pa.array([f"reader-{user:06d}" for user in users.tolist()]),
        pa.array(np.ones(len(users), np.int64)),
        pa.array((users % 5).astype(np.int32)),
        sessions["mini_app"].to_arrow().cast(pa.list_(pa.string())),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(starts + places * PACE_US)),
    ]
    pq.write_table(pa.table(columns, SESSION_SCHEMA), path, row_group_size=2**16)


def measure(reading: str, path: Path, visits: pl.DataFrame, settings: GruSettings) -> None:
    """Fit each model, score it, print the figures."""
    fits: dict[str, Callable[[], SequenceModel]] = {
        "most frequent": lambda: count(visits, 0),
        "order-1 Markov": lambda: count(visits, 1),
        COUNTS: lambda: count(visits, 3),
        NEIGHBOURS: lambda: fit_neighbours([path], FIT, VALIDATION),
        GRU: lambda: train(path, settings),
    }
    rows, scores = [], {}
    for name, fit in fits.items():
        started = time.process_time()
        model = fit()
        fitted = time.process_time()
        scores[name] = score(model, read_sessions([path], model.mini_apps, [HELD_OUT]))
        rows.append((name, *figures(scores[name]), fitted - started, time.process_time() - fitted))
    columns = ("", "R@1", "R@3", "log-loss", "ECE", "CPU s to fit", "CPU s to score")
    print_table(f"msnbc, {reading}: {scores[COUNTS].predictions:,} predictions of held-out users", columns, rows)
    for name in (NEIGHBOURS, GRU):
        told = choose_model({COUNTS: scores[COUNTS], name: scores[name]}).evidence[name]
        error = told["log_loss_gain_standard_error"]
        print(
            f"{name}: log-loss lower than that of the counts by {told['log_loss_gain']:.4f}, standard error {error:.4f}"
        )


def count(visits: pl.DataFrame, order: int) -> SequenceModel:
    """The count model of an order, of all users who are not held out; its weights are learned by their folds."""
    learned = visits.filter(pl.col("user") % 5 != HELD_OUT)
    before = (pl.col("mini_app").shift(back).over("user").alias(f"prev{back}") for back in (1, 2, 3))
    grams = learned.select(*before, pl.col("mini_app").alias("next"), (pl.col("user") % 5).alias("fold"))
    counts = grams.group_by(grams.columns).agg(pl.len().cast(pl.Int64).alias("transitions"))
    return CountedSequences(NGramModel.fit(counts, order))


def train(path: Path, settings: GruSettings) -> SequenceModel:
    """The GRU; prints how each epoch went."""
    with tempfile.TemporaryDirectory() as folder, progress("batches of the GRU", None) as advance:

        def watch(_: Standing) -> None:
            advance(1)

        trained = train_gru([path], Path(folder), FIT, VALIDATION, settings, watch=watch)
    print(f"GRU of {settings.units} units, at most {settings.epochs} epochs:")
    for number, epoch in enumerate(trained.epochs, start=1):
        print(
            f"  epoch {number}, rate {epoch.rate:.5f}: "
            f"training loss {epoch.training_loss:.4f}, validation loss {epoch.validation_loss:.4f}"
        )
    return trained.model


def figures(scores: Scores) -> tuple[str, ...]:
    """To four digits: differences between models are small."""
    values = (scores.recall_at_1, scores.recall_at_3, scores.log_loss, scores.calibration_error)
    return tuple(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    main()
