"""The network as TensorFlow trains it is the one that predicts without it, and errors beneath it come out whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from usage_analytics.errors import UserError
from usage_analytics.models.branching.challengers.gru import GruModel
from usage_analytics.models.branching.challengers.gru_network import GruNetwork
from usage_analytics.models.branching.challengers.training_batches import TrainingBatch
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import read_sessions
from usage_analytics_tests.models.branching.challengers.planted_sessions import FIT

NEEDS_TENSORFLOW = pytest.mark.usefixtures("_tensorflow")


@pytest.fixture
def _tensorflow() -> None:
    """Not while tests are collected: the import takes ten seconds."""
    pytest.importorskip("tensorflow", reason="trains with TensorFlow: install the [ai] extra", exc_type=ImportError)


@NEEDS_TENSORFLOW
def test_it_predicts_as_keras_does() -> None:
    """At a rate of zero a step tells the loss and changes nothing: it must be that of the plain arrays."""
    random = np.random.default_rng(3)
    network = GruNetwork(np.full(4, 0.25), units=12, seed=1)
    codes = random.integers(1, 5, (20, 9))
    batch = TrainingBatch(codes[:, :-1], codes[:, 1:] - 1, np.ones((20, 8)))
    list(network.learn(lambda: iter([batch] * 10), 0, 0.1))  # away from where it starts
    (told,) = network.learn(lambda: iter([batch]), 0, 0.0)
    model = GruModel(("a", "b", "c", "d"), 0.001, network.weights())
    probabilities = model.probabilities(CodedSessions.of(codes.tolist()))
    given = probabilities[np.arange(160), codes[:, 1:].ravel() - 1]
    assert told.loss == pytest.approx(-np.log(given).mean(), rel=1e-4)
    assert told.loss < np.log(4) - 0.05
    assert told.predictions == 160


@NEEDS_TENSORFLOW
def test_untrained_it_predicts_the_frequencies() -> None:
    weights = GruNetwork(np.array([0.7, 0.2, 0.1]), units=4, seed=1).weights()
    found = GruModel(("a", "b", "c"), 0.001, weights).probabilities(CodedSessions.of([[1, 2, 3, 3]]))
    np.testing.assert_allclose(found, [[0.7, 0.2, 0.1]] * 3, rtol=1e-6)


@NEEDS_TENSORFLOW
def test_a_file_that_goes_while_training_is_named(tmp_path: Path) -> None:
    """Below TensorFlow's own reading ahead, an error of ours still comes out as it is."""

    def batches() -> Iterator[TrainingBatch]:
        yield TrainingBatch(np.ones((2, 3), np.int64), np.zeros((2, 3), np.int64), np.ones((2, 3)))
        yield from read_sessions([tmp_path / "gone.parquet"], ("a",), FIT)  # type: ignore[misc]

    network = GruNetwork(np.array([0.5, 0.5]), units=4, seed=1)
    with pytest.raises(UserError, match=r"gone\.parquet: there is no such file"):
        list(network.learn(batches, 0, 0.01))


def test_without_tensorflow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=r"ai extra \(pip install 'usage_analytics\[ai\]'\): .*(keras|tensorflow)"):
        GruNetwork(np.array([0.5, 0.5]), units=4, seed=1)
