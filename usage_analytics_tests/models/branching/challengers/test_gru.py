"""The recurrent network as it predicts, without TensorFlow: what holds for any weights."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.challengers.gru import GruModel, GruWeights
from usage_analytics.models.branching.counts.transition_counts import UNKNOWN
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions

APPS = ("blotter", "chart", "chat", "quotes")

sequences = st.lists(st.lists(st.sampled_from([UNKNOWN, 1, 2, 3, 4]), max_size=9), max_size=8)


def model() -> GruModel:
    random, units = np.random.default_rng(1), 5
    shapes = ((len(APPS) + 1, 3 * units), (units, 3 * units), (3 * units,), (units, len(APPS)), (len(APPS),))
    return GruModel(APPS, 0.001, GruWeights(*(random.normal(0, 1, shape).astype(np.float32) for shape in shapes)))


@given(sequences)
def test_sessions_together_are_predicted_as_each_alone(given_sequences: list[list[int]]) -> None:
    together = model().probabilities(CodedSessions.of(given_sequences))
    alone = [model().probabilities(CodedSessions.of([sequence])) for sequence in given_sequences]
    assert together.shape == (sum(max(len(sequence) - 1, 0) for sequence in given_sequences), len(APPS))
    np.testing.assert_allclose(together, np.concatenate([np.empty((0, len(APPS))), *alone]), rtol=1e-4)
    np.testing.assert_allclose(together.sum(axis=1), 1.0)
    assert (together > 0).all()


@given(st.lists(st.sampled_from([UNKNOWN, 1, 2, 3, 4]), min_size=2, max_size=9), st.sampled_from([1, 2, 3, 4]))
def test_what_comes_later_changes_nothing_before(sequence: list[int], last: int) -> None:
    one = model().probabilities(CodedSessions.of([sequence]))
    other = model().probabilities(CodedSessions.of([[*sequence[:-1], last, 1, 2]]))
    np.testing.assert_allclose(one, other[: len(one)], rtol=1e-4)


def test_a_session_of_one_event_has_nothing_to_predict() -> None:
    assert model().probabilities(CodedSessions.of([[2]])).shape == (0, len(APPS))
    assert model().probabilities(CodedSessions.of([])).shape == (0, len(APPS))


def test_a_unit_is_that_of_cho() -> None:
    """One unit, one step, by hand: reset, update and candidate from a state of zero, then once more."""
    weights = GruWeights(
        inputs=np.array([[0, 0, 0], [0.5, -0.3, 0.8]], np.float32),
        recurrent=np.array([[0.4, 0.7, -0.6]], np.float32),
        recurrent_bias=np.array([0.1, 0.2, -0.5], np.float32),
        output=np.array([[2.0, -1.0]], np.float32),
        output_bias=np.array([0.3, 0.0], np.float32),
    )
    found = GruModel(("a", "b"), 0.01, weights).probabilities(CodedSessions.of([[1, 1, 2]]))
    state = 0.0
    for row in found:
        update = 1 / (1 + np.exp(-(0.5 + 0.4 * state + 0.1)))
        reset = 1 / (1 + np.exp(-(-0.3 + 0.7 * state + 0.2)))
        state = update * state + (1 - update) * np.tanh(0.8 + reset * (-0.6 * state - 0.5))
        assert row[0] == pytest.approx(1 / (1 + np.exp(-(3 * state + 0.3))), rel=1e-5)


def test_predicting_and_training_import_no_tensorflow_until_it_is_needed() -> None:
    told = (
        "import sys; from usage_analytics.models.branching.challengers import gru_training, neighbour_model, choice; "
    )
    subprocess.run(
        [sys.executable, "-c", told + "assert not {'tensorflow', 'keras', 'scipy'} & set(sys.modules)"], check=True
    )
