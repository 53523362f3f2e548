"""Transition counts: the sufficient statistics of the next-action model. They add up over trading days."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

LONGEST_CONTEXT = 3
PREVIOUS = ("prev1", "prev2", "prev3")  # nearest first

SESSION_START = 0  # code of "before the start of the user session"
UNKNOWN = -1  # code of a mini-app that the model never saw, and of a position that is not given


def sum_counts(counts: pl.DataFrame, max_order: int = LONGEST_CONTEXT) -> pl.DataFrame:
    """Add up repeated rows of `checked_counts`: one row per n-gram and fold, sorted."""
    grams = checked_counts(counts, max_order)
    names = [name for name in grams.columns if name not in ("fold", "transitions")]
    keys = [*names, *(["fold"] if "fold" in grams.columns else [])]
    coded = pl.Enum(vocabulary(grams))  # sorts as the names do, and in a fifth of the time
    summed = grams.with_columns(pl.col(names).cast(coded)).group_by(keys).agg(pl.col("transitions").sum())
    return summed.filter(pl.col("transitions") > 0).sort(keys).with_columns(pl.col(names).cast(pl.String))


def checked_counts(counts: pl.DataFrame, max_order: int) -> pl.DataFrame:
    """The columns of counts that a model of an order needs, every rule checked.

    They are prev<max_order> .. prev1, next (String), fold (Int64) where there is one, transitions (Int64). ValueError
    when the counts break a rule.
    """
    if not 0 <= max_order <= LONGEST_CONTEXT:
        raise ValueError(f"max_order must lie between 0 and {LONGEST_CONTEXT}, not {max_order}")
    # prev1 is kept at order 0 too: it tells the start of a user session from a transition
    previous = list(reversed(PREVIOUS[: max(max_order, 1)]))
    missing = [name for name in (*previous, "next", "transitions") if name not in counts.columns]
    if missing:
        raise ValueError(f"transition counts lack the columns {missing}; they have {counts.columns}")
    if not counts.schema["transitions"].is_integer():
        raise ValueError(f"transitions must be whole numbers, not {counts.schema['transitions']}")
    folds = [pl.col("fold").cast(pl.Int64)] if "fold" in counts.columns else []
    grams = counts.select(pl.col(*previous, "next").cast(pl.String), *folds, pl.col("transitions").cast(pl.Int64))
    _check_rows(grams, previous)
    return grams


def _check_rows(grams: pl.DataFrame, previous: Sequence[str]) -> None:
    gap = pl.any_horizontal(
        pl.lit(False),
        *(pl.col(near).is_null() & pl.col(far).is_not_null() for far, near in pairwise(previous)),
    )
    rules = {
        "next is null": pl.col("next").is_null(),
        "transitions is null or negative": pl.col("transitions").is_null() | (pl.col("transitions") < 0),
        "a mini-app comes before the start of its user session (null after a name)": gap,
    }
    for rule, broken in rules.items():
        bad = grams.filter(broken)
        if bad.height:
            raise ValueError(f"{bad.height} transition counts are malformed: {rule}; the first is {bad.row(0)}")


def vocabulary(grams: pl.DataFrame) -> tuple[str, ...]:
    """Every mini-app that the summed counts name, as a source or as a target, sorted."""
    names = [grams[name] for name in grams.columns if name not in ("fold", "transitions")]
    return tuple(pl.concat([column.rename("app") for column in names]).drop_nulls().unique().sort().to_list())


def encode_grams(
    grams: pl.DataFrame, mini_apps: Sequence[str], max_order: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Turn summed counts into codes: contexts (rows, max_order) nearest first, next and transitions (rows,).

    A mini-app has the code 1 + its index; SESSION_START and UNKNOWN are the other two.
    """
    codes = {name: code for code, name in enumerate(mini_apps, start=1)}

    def coded(name: str) -> npt.NDArray[np.int64]:
        column = pl.col(name)
        known = column.replace_strict(codes, default=UNKNOWN, return_dtype=pl.Int64)
        return grams.select(pl.when(column.is_null()).then(SESSION_START).otherwise(known)).to_series().to_numpy()

    contexts = np.empty((grams.height, max_order), dtype=np.int64)
    for position, name in enumerate(PREVIOUS[:max_order]):
        contexts[:, position] = coded(name)
    return contexts, coded("next"), grams["transitions"].to_numpy()
