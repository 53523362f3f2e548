"""Recorded data sets as user sessions: the visits of msnbc, and event logs of business processes."""

import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.models.branching.sessions.user_sessions import FOLDS, SESSION_SCHEMA
from usage_analytics.trading_calendar import PHASES

HELD_OUT = FOLDS - 1
END = "(end)"  # of a case: it is predicted like an activity
DAY = date(1999, 9, 28)
PACE_US = 20_000_000  # between the visits of msnbc, which tells no times
SPREAD = 2_654_435_761  # Knuth's multiplicative hash: starts spread evenly over four hours, without a random number


def msnbc(path: Path, users: int = 0) -> pl.DataFrame:
    """Line number (``user``), ``mini_app`` and ``fold`` of each visit, in order; of the first so many users, 0: all."""
    with zipfile.ZipFile(path) as archive:
        head, text = archive.read(archive.namelist()[0]).decode("ascii").split("% Sequences:")
    names = next(line.split() for line in head.splitlines() if line.strip() and not line.startswith("%"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    visits = pl.DataFrame({"visits": lines[: users or None]}).with_row_index("user")
    names_by_number = {str(number): name for number, name in enumerate(names, start=1)}
    return (
        visits.select(pl.col("user").cast(pl.Int64), pl.col("visits").str.split(" ").alias("mini_app"))
        .explode("mini_app")
        .with_columns(pl.col("mini_app").replace_strict(names_by_number), (pl.col("user") % FOLDS).alias("fold"))
    )


def event_log(path: Path) -> pl.DataFrame:
    """The activities of each case (``user``) in the order of their times, those of one time as in the file; then END.

    Four hours each of the day, as its clock told it, stand for a ``phase`` of the trading day.
    The fifth of the cases that began last is held out: fold HELD_OUT; the others are dealt into the other folds.
    """
    times = pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%z")
    rows = pl.read_csv(path, infer_schema=False).select("case_id", pl.col("activity").alias("mini_app"), times)
    parts = dict(enumerate(PHASES))
    rows = rows.with_columns((pl.col("timestamp").dt.hour() // 4).replace_strict(parts).alias("phase"))
    begun = rows.group_by("case_id", maintain_order=True).agg(pl.col("timestamp").min())
    begun = begun.sort("timestamp", maintain_order=True).with_row_index("user")
    learned = begun.height * HELD_OUT // FOLDS
    fold = pl.when(pl.col("user") < learned).then(pl.col("user") % HELD_OUT).otherwise(HELD_OUT)
    cases = begun.select("case_id", pl.col("user").cast(pl.Int64), fold.cast(pl.Int64).alias("fold"))
    in_order = rows.join(cases, on="case_id", maintain_order="left").sort("user", "timestamp", maintain_order=True)
    ends = cases.select("user", pl.lit(END).alias("mini_app"), "fold", pl.lit(None, pl.String).alias("phase"))
    return pl.concat([in_order.select(ends.columns), ends]).sort("user", maintain_order=True)


def without_repeats(visits: pl.DataFrame) -> pl.DataFrame:
    """The same, a mini-app that follows itself counted once."""
    return visits.filter(pl.col("mini_app").ne_missing(pl.col("mini_app").shift(1).over("user")))


def write_sessions(visits: pl.DataFrame, path: Path) -> None:
    """One user session for each user, at a made-up time; in a ``phase`` where visits have one."""
    if "phase" not in visits.columns:
        visits = visits.with_columns(pl.lit(None, pl.String).alias("phase"))
    of_users = visits.group_by("user", maintain_order=True)
    sessions = of_users.agg("mini_app", "phase", pl.col("fold").first()).sort("user")
    users, lengths = sessions["user"].to_numpy(), sessions["mini_app"].list.len().to_numpy()
    starts = np.repeat(users * SPREAD % 2**32 * (4 * 3600 * 1_000_000 // 2**12) // 2**20, lengths)
    offsets = np.append(0, np.cumsum(lengths, dtype=np.int32)).astype(np.int32)
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    columns = [
        pa.array([DAY] * len(users)),
        pa.array([f"reader-{user:06d}" for user in users.tolist()]),
        pa.array(np.ones(len(users), np.int64)),
        sessions["fold"].cast(pl.Int32).to_arrow(),
        sessions["mini_app"].to_arrow().cast(pa.list_(pa.string())),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(starts + places * PACE_US)),
        pa.ListArray.from_arrays(pa.array(offsets), pa.nulls(int(offsets[-1]), pa.string())),
        sessions["phase"].to_arrow().cast(pa.list_(pa.string())),
    ]
    pq.write_table(pa.table(columns, SESSION_SCHEMA), path, row_group_size=2**16)


def transition_counts(visits: pl.DataFrame) -> pl.DataFrame:
    """Rows as those of ``app_transitions``, by fold."""
    before = (pl.col("mini_app").shift(back).over("user").alias(f"prev{back}") for back in (1, 2, 3))
    grams = visits.select(*before, pl.col("mini_app").alias("next"), "fold")
    return grams.group_by(grams.columns).agg(pl.len().cast(pl.Int64).alias("transitions"))
