"""What the network is shown: every prediction once, in an order of the seed alone, in matrices of bounded size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.challengers import training_batches as module
from usage_analytics.models.branching.challengers.training_batches import (
    BatchSettings,
    TrainingBatch,
    training_batches,
)
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch, read_row_groups, row_groups
from usage_analytics_tests.models.branching.challengers.planted_sessions import markov_sessions, write_sessions

APPS = ("a", "b", "c")
SMALL = BatchSettings(predictions=12, longest=4, warm_up=2, block=40, forgotten=0.0)


def batches(path: Path, settings: BatchSettings, *seed: int, folds: Sequence[int] = (0, 1, 2)) -> list[TrainingBatch]:
    return list(training_batches(row_groups([path]), APPS, folds, settings, seed))


def shown(batch: TrainingBatch) -> list[tuple[tuple[str, ...], str]]:
    """What was read before each prediction that counts, and what it was of."""
    found = []
    for row, place in zip(*np.nonzero(batch.weights), strict=True):
        read = tuple(APPS[code - 1] for code in batch.codes[row, : place + 1])
        found.append((read, APPS[batch.actions[row, place]]))
    return found


@given(st.lists(st.lists(st.sampled_from(APPS), min_size=1, max_size=15), min_size=1, max_size=30))
def test_every_prediction_is_shown_once_with_what_came_before_it(
    tmp_path_factory: pytest.TempPathFactory, sessions: list[list[str]]
) -> None:
    path = write_sessions(tmp_path_factory.mktemp("sessions") / "day.parquet", sessions, row_group=4)
    expected = []
    for session in (each for n, each in enumerate(sessions) if n % 5 in (0, 1, 2)):
        for place in range(1, len(session)):
            piece = (place - 1) // SMALL.longest * SMALL.longest
            expected.append((tuple(session[max(piece - SMALL.warm_up, 0) : place]), session[place]))
    found = batches(path, SMALL, 1, 0)
    assert Counter(each for batch in found for each in shown(batch)) == Counter(expected)
    assert all(batch.codes.size <= SMALL.predictions for batch in found)
    assert all(batch.codes.shape == batch.actions.shape == batch.weights.shape for batch in found)


def same(one: list[TrainingBatch], other: list[TrainingBatch]) -> bool:
    pairs = zip(one, other, strict=False)
    equal = (np.array_equal(a.codes, b.codes) and np.array_equal(a.actions, b.actions) for a, b in pairs)
    return len(one) == len(other) and all(equal)


def test_the_seed_alone_decides_the_order(tmp_path: Path) -> None:
    sessions = [
        [name.replace("app-0", "a").replace("app-1", "b").replace("app-2", "c") for name in each]
        for each in markov_sessions(1, 3, 200, seed=2).sessions
    ]
    path = write_sessions(tmp_path / "day.parquet", sessions, row_group=20)
    hiding = BatchSettings(predictions=64, longest=8, warm_up=2, block=300, forgotten=0.1)
    assert same(batches(path, hiding, 1, 0), batches(path, hiding, 1, 0))
    assert not same(batches(path, hiding, 1, 0), batches(path, hiding, 1, 1))
    assert not same(batches(path, hiding, 1, 0), batches(path, hiding, 2, 0))


def test_some_of_what_is_read_is_hidden_but_nothing_that_is_predicted(tmp_path: Path) -> None:
    path = write_sessions(tmp_path / "day.parquet", [["a", "b", "c"] * 10] * 200)
    hidden = total = 0
    for batch in batches(path, BatchSettings(forgotten=0.25), 7):
        counted = batch.weights > 0
        hidden += int((batch.codes[counted] == 0).sum())
        total += int(counted.sum())
        known = counted & (batch.codes > 0)
        assert (batch.actions[known] == batch.codes[known] % 3).all()
    assert total == 120 * 29
    assert hidden / total == pytest.approx(0.25, abs=0.03)


def test_sessions_of_one_event_show_nothing(tmp_path: Path) -> None:
    assert batches(write_sessions(tmp_path / "day.parquet", [["a"]] * 20), SMALL, 1) == []


def test_no_more_is_read_ahead_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sessions(tmp_path / "day.parquet", [["a", "b", "c", "a"]] * 1000, row_group=20)
    read = 0

    def counting(*asked: Any) -> Iterator[SessionBatch]:
        nonlocal read
        for batch in read_row_groups(*asked):
            read += len(batch.sessions.codes)
            yield batch

    monkeypatch.setattr(module, "read_row_groups", counting)
    shown_batches = training_batches(row_groups([path]), APPS, (0, 1, 2), SMALL, (1,))
    next(shown_batches)
    assert read == 12 * 4 >= SMALL.block  # one row group, of whose sessions three fifths learn
    assert sum(len(shown(batch)) for batch in shown_batches) > 1700
