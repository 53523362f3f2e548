"""User sessions from Parquet as padded matrices to train on: shuffled, repeatably, within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import RowGroup, read_row_groups


@dataclass(frozen=True)
class BatchSettings:
    """How sessions become batches."""

    predictions: int = 2048  # per batch at most, padding included
    longest: int = 64  # predictions of a piece; a longer session is cut into several
    warm_up: int = 16  # events before a later piece that are read again, so that it does not seem to begin a session
    block: int = 2**19  # predictions that are shuffled together: what bounds memory
    forgotten: float = 0.01  # share of the events read that are hidden, by which the network learns what UNKNOWN means


@dataclass(frozen=True)
class TrainingBatch:
    """Codes read, what was opened after each, and which of these count: (pieces, places) each."""

    codes: Ints  # 0: UNKNOWN, or padding
    actions: Ints  # positions in the vocabulary
    weights: Floats  # 1 or 0


@dataclass(frozen=True)
class _Pieces:
    """Stretches of flat codes: read from begins up to, not with, ends; predictions count from counted on."""

    codes: Ints
    begins: Ints
    counted: Ints
    ends: Ints


def training_batches(
    groups: Sequence[RowGroup],
    mini_apps: Sequence[str],
    folds: Sequence[int],
    settings: BatchSettings,
    seed: Sequence[int],
) -> Iterator[TrainingBatch]:
    """All predictions of some folds once, in an order that the seed alone decides."""
    random = np.random.default_rng(seed)
    order = [groups[place] for place in random.permutation(len(groups))]
    waiting: list[_Pieces] = []
    held = 0
    for batch in read_row_groups(order, mini_apps, folds):
        waiting.append(_cut(batch.sessions, settings))
        held += len(batch.sessions.codes)
        if held >= settings.block:
            yield from _batches(_join(waiting), settings, random)
            waiting, held = [], 0
    if waiting:
        yield from _batches(_join(waiting), settings, random)


def _cut(sessions: CodedSessions, settings: BatchSettings) -> _Pieces:
    predictions = np.maximum(sessions.lengths() - 1, 0)
    pieces = -(-predictions // settings.longest)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = np.repeat(sessions.starts[:-1], pieces)
    counted = first + number * settings.longest
    ends = np.minimum(counted + settings.longest, first + np.repeat(predictions, pieces))
    return _Pieces(sessions.codes, np.maximum(counted - settings.warm_up, first), counted, ends)


def _join(parts: Sequence[_Pieces]) -> _Pieces:
    sizes = [len(part.codes) for part in parts]
    before: Ints = np.repeat(np.cumsum(sizes, dtype=np.int64) - sizes, [len(part.begins) for part in parts])
    return _Pieces(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.begins for part in parts]) + before,
        np.concatenate([part.counted for part in parts]) + before,
        np.concatenate([part.ends for part in parts]) + before,
    )


def _batches(pieces: _Pieces, settings: BatchSettings, random: np.random.Generator) -> Iterator[TrainingBatch]:
    """Pieces of about the same length together, so that little is padded; the batches in a random order."""
    lengths = pieces.ends - pieces.begins
    order = random.permutation(len(lengths))
    order = order[np.argsort(-lengths[order], kind="stable")]
    cuts, start = [], 0
    while start < len(order):
        end = start + max(settings.predictions // int(lengths[order[start]]), 1)
        cuts.append(order[start:end])
        start = end
    for place in random.permutation(len(cuts)):
        yield _padded(pieces, cuts[place], settings, random)


def _padded(pieces: _Pieces, rows: Ints, settings: BatchSettings, random: np.random.Generator) -> TrainingBatch:
    longest = int((pieces.ends[rows] - pieces.begins[rows]).max())
    places = pieces.begins[rows][:, None] + np.arange(longest)
    inside = places < pieces.ends[rows][:, None]
    places = np.where(inside, places, 0)
    hidden = random.random(places.shape) < settings.forgotten
    codes = np.where(inside & ~hidden, np.maximum(pieces.codes[places], 0), 0)
    actions = np.where(inside, pieces.codes[np.minimum(places + 1, len(pieces.codes) - 1)] - 1, 0)
    return TrainingBatch(
        codes=codes,
        actions=np.maximum(actions, 0),
        weights=(inside & (places >= pieces.counted[rows][:, None]) & (actions >= 0)).astype(np.float64),
    )
