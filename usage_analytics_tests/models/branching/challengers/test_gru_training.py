"""The recurrent network learns what was planted, and learns the same whether or not it was killed meanwhile."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from usage_analytics.errors import UserError
from usage_analytics.models.branching.challengers.gru_training import (
    STATE_FILE,
    GruSettings,
    Standing,
    TrainedGru,
    train_gru,
)
from usage_analytics.models.branching.challengers.training_batches import BatchSettings
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.counts.transition_counts import UNKNOWN
from usage_analytics.models.branching.scoring import score
from usage_analytics.models.branching.sequence_model import CountedSequences
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import read_sessions
from usage_analytics_tests.models.branching.challengers import killed_training
from usage_analytics_tests.models.branching.challengers.planted_sessions import (
    FIT,
    HELD_OUT,
    VALIDATION,
    counted,
    markov_sessions,
    write_sessions,
)

NEEDS_TENSORFLOW = pytest.mark.usefixtures("_tensorflow")
ROOT = Path(killed_training.__file__).parents[4]
KILLED_AT = 100  # batches, in the second epoch
BRIEF = GruSettings(units=8, rate=2e-2, epochs=1, batches=BatchSettings(predictions=512))


@pytest.fixture(scope="module")
def _tensorflow() -> None:
    """Not while tests are collected: the import takes ten seconds."""
    pytest.importorskip("tensorflow", reason="trains with TensorFlow: install the [ai] extra", exc_type=ImportError)


@NEEDS_TENSORFLOW
@pytest.mark.parametrize(("order", "apps"), [(2, 5), (3, 3)])
def test_a_planted_chain_is_learned(tmp_path: Path, order: int, apps: int) -> None:
    planted = markov_sessions(order, apps, sessions=8000, seed=order, longest=12)
    path = write_sessions(tmp_path / "day.parquet", planted.sessions)
    settings = GruSettings(units=32, rate=2e-2, epochs=8, batches=BatchSettings(predictions=1024))
    model = train_gru([path], tmp_path / "state", FIT, VALIDATION, settings).model
    markov = CountedSequences(NGramModel.fit(counted(planted.sessions, FIT), max_order=1))
    of_gru, of_markov = (score(each, read_sessions([path], each.mini_apps, [HELD_OUT])) for each in (model, markov))
    truth = planted.log_loss(HELD_OUT)
    assert truth < of_gru.log_loss < truth * 1.04
    assert of_gru.log_loss < of_markov.log_loss * 0.95
    assert of_gru.recall_at_1 > of_markov.recall_at_1
    assert of_gru.calibration_error < 0.03


def equal(one: TrainedGru, other: TrainedGru) -> bool:
    pairs = zip(vars(one.model.weights).values(), vars(other.model.weights).values(), strict=True)
    return one.epochs == other.epochs and all(np.array_equal(a, b) for a, b in pairs)


@NEEDS_TENSORFLOW
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    for number in range(3):  # several files, of several row groups each
        sessions = markov_sessions(1, 4, sessions=400, seed=number).sessions
        write_sessions(tmp_path / f"day-{number}.parquet", sessions, row_group=150)
    command = [sys.executable, "-m", killed_training.__name__, str(tmp_path), str(tmp_path / "killed"), str(KILLED_AT)]
    killed = subprocess.Popen(command, cwd=ROOT)
    paths = sorted(tmp_path.glob("*.parquet"))
    whole: list[Standing] = []
    settings, often = killed_training.SETTINGS, killed_training.CHECKPOINT_STEPS
    uninterrupted = train_gru(paths, tmp_path / "whole", FIT, VALIDATION, settings, often, whole.append)
    assert killed.wait(120) == -signal.SIGKILL

    went_on: list[Standing] = []
    resumed = train_gru(paths, tmp_path / "killed", FIT, VALIDATION, settings, often, went_on.append)
    assert KILLED_AT - often <= len(whole) - len(went_on) < KILLED_AT
    assert went_on[0].epoch == 2 and went_on[0].share > 0.2  # in the middle of an epoch
    assert went_on == whole[-len(went_on) :]
    assert [standing.share for standing in went_on] == sorted(standing.share for standing in went_on)
    assert went_on[-1].share == 1.0
    assert equal(resumed, uninterrupted)

    never: list[Standing] = []
    assert equal(train_gru(paths, tmp_path / "killed", FIT, VALIDATION, settings, often, never.append), resumed)
    assert never == []


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sessions = markov_sessions(1, 4, sessions=300, seed=5).sessions
    sessions += [["app-0"]] * 20  # nothing to predict
    return write_sessions(tmp_path_factory.mktemp("sessions") / "day.parquet", sessions)


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory, day: Path, _tensorflow: None) -> TrainedGru:
    return train_gru([day], tmp_path_factory.mktemp("state"), FIT, VALIDATION, BRIEF)


@NEEDS_TENSORFLOW
def test_another_training_or_a_broken_state_begins_anew(
    tmp_path: Path, day: Path, brief: TrainedGru, caplog: pytest.LogCaptureFixture
) -> None:
    other = train_gru([day], tmp_path, FIT, VALIDATION, replace(BRIEF, seed=2))
    steps: list[Standing] = []
    assert equal(train_gru([day], tmp_path, FIT, VALIDATION, BRIEF, watch=steps.append), brief)
    assert steps and not equal(other, brief)
    (tmp_path / STATE_FILE).write_bytes(b"no state")
    with caplog.at_level(logging.WARNING):
        assert equal(train_gru([day], tmp_path, FIT, VALIDATION, BRIEF), brief)
    assert f"Training begins anew: {tmp_path / STATE_FILE} is broken" in caplog.text


@NEEDS_TENSORFLOW
def test_training_stops_when_the_validation_fold_gains_no_more(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    noise = [[f"app-{n}" for n in random.integers(0, 3, 10)] for _ in range(100)]
    path = write_sessions(tmp_path / "noise.parquet", noise)
    settings = replace(BRIEF, epochs=30, patience=2, rate=5e-2)
    trained = train_gru([path], tmp_path, FIT, VALIDATION, settings)
    losses = [epoch.validation_loss for epoch in trained.epochs]
    assert len(losses) < 30
    assert min(losses[-2:]) > min(losses) - settings.least_gain
    assert trained.epochs[-1].rate < settings.rate
    held = score(trained.model, read_sessions([path], trained.model.mini_apps, [VALIDATION]))
    assert held.log_loss == pytest.approx(min(losses))


@NEEDS_TENSORFLOW
def test_what_a_hidden_event_means_is_learned(tmp_path: Path) -> None:
    round_trips = [[("a", "b", "c")[(start + n) % 3] for n in range(12)] for start in range(3) for _ in range(40)]
    path = write_sessions(tmp_path / "day.parquet", round_trips)
    settings = replace(BRIEF, epochs=12, batches=BatchSettings(predictions=256, forgotten=0.1))
    model = train_gru([path], tmp_path, FIT, VALIDATION, settings).model
    after_unknown = model.probabilities(CodedSessions.of([[1, 2, UNKNOWN, 1, 2]]))[2]
    assert after_unknown[0] > 0.8  # a, b, something, then a


@NEEDS_TENSORFLOW
def test_a_mini_app_never_seen_is_a_miss_at_the_reserved_probability(tmp_path: Path, brief: TrainedGru) -> None:
    model = brief.model
    path = write_sessions(tmp_path / "new.parquet", [["app-0", "brand new"]])
    scores = score(model, read_sessions([path], model.mini_apps, [0]))
    assert (scores.unknown_predictions, scores.recall_at_3) == (1, 0.0)
    assert scores.log_loss == pytest.approx(-np.log(model.reserved))
    assert 0 < model.reserved < 1e-3


@pytest.mark.parametrize(("folds", "which"), [((3, 4), "0, 1, 2"), ((0, 1, 2), "3")])
def test_an_empty_fold_is_named(tmp_path: Path, folds: tuple[int, ...], which: str) -> None:
    sessions = [["app-0", "app-1"]] * 10
    path = write_sessions(tmp_path / "day.parquet", sessions, [folds[n % len(folds)] for n in range(10)])
    with pytest.raises(UserError, match=rf"day\.parquet: no user session of fold {which} has a second event"):
        train_gru([path], tmp_path, FIT, VALIDATION, BRIEF)


def test_a_broken_file_is_named(tmp_path: Path, day: Path) -> None:
    path = tmp_path / "cut.parquet"
    path.write_bytes(day.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"cut\.parquet: .* broken"):
        train_gru([day, path], tmp_path, FIT, VALIDATION, BRIEF)
