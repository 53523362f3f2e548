"""The file of a next-action model: its summed counts as Parquet, and the weights learned from them.

The model is rebuilt from these exactly.
"""

from __future__ import annotations

import json
import math
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.counts.interpolation import BUCKETS
from usage_analytics.models.branching.counts.transition_counts import checked_counts

FORMAT_VERSION = 1
_METADATA_KEY = "usage_analytics.next_action_model"


def write_model_file(
    path: Path, grams: pl.DataFrame, max_order: int, trading_day: date | None, weights: Floats
) -> None:
    """Write beside `path`, then rename: a reader sees the old file or the new one. Makes the folder."""
    about = {
        "format_version": FORMAT_VERSION,
        "max_order": max_order,
        "trading_day": trading_day.isoformat() if trading_day else None,
        "transitions": int(grams["transitions"].sum()),
        "rows": grams.height,
        "weights": [[None if math.isnan(weight) else weight for weight in order] for order in weights.tolist()],
    }
    temporary = temporary_beside(path)
    try:
        grams.write_parquet(temporary, compression="zstd", metadata={_METADATA_KEY: json.dumps(about)})
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_model_file(path: Path) -> tuple[pl.DataFrame, int, date | None, Floats]:
    """Summed counts, max_order, trading day, weights. FileNotFoundError; ValueError if broken or another version."""
    content = path.read_bytes()
    try:
        about = json.loads(pl.read_parquet_metadata(BytesIO(content))[_METADATA_KEY])
        version = about["format_version"]
    except Exception as error:  # polars raises many kinds, by where the bytes are broken
        raise ValueError(f"{path} is broken or is no next-action model: {error!r}") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version}; this package reads version {FORMAT_VERSION}")
    try:
        grams = checked_counts(pl.read_parquet(BytesIO(content)), int(about["max_order"]))
        day = date.fromisoformat(about["trading_day"]) if about["trading_day"] else None
        promised = (about["rows"], about["transitions"])
        weights = _weights(about["weights"], int(about["max_order"]))
    except Exception as error:
        raise ValueError(f"{path} is broken: {error!r}") from error
    held = (grams.height, int(grams["transitions"].sum()))
    if held != promised or not grams.height:
        raise ValueError(f"{path} is broken: it holds (rows, transitions) {held} where {promised} were written")
    return grams, int(about["max_order"]), day, weights


def _weights(kept: list[list[float | None]], max_order: int) -> Floats:
    weights = np.array(kept, np.float64)  # None: NaN
    if weights.shape != (max_order + 1, BUCKETS) or not (np.isnan(weights) | (weights >= 0) & (weights <= 1)).all():
        raise ValueError(f"weights are {max_order + 1} times {BUCKETS} numbers between 0 and 1")
    return weights
