"""Going back: what was opened when, factors that sum to one, and planted factors found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.coded_sessions import CodedSessions
from usage_analytics.models.branching.revisits import (
    STEPS,
    VISITS,
    RevisitFactors,
    RevisitingModel,
    learn_revisits,
    revisits,
)

APPS = 12


class Uniform:
    """Predicts every mini-app alike."""

    mini_apps = tuple(f"app{number:02}" for number in range(APPS))
    reserved = 0.001

    def probabilities(self, sessions: CodedSessions) -> np.ndarray:
        return np.full((len(sessions.following()), APPS), 1 / APPS)


def wanderers(sessions: int, length: int, back: float, seed: int) -> CodedSessions:
    """Each step goes with so many times the chance to a mini-app that was opened two or more steps ago."""
    chance = np.random.default_rng(seed)
    walks = []
    for _ in range(sessions):
        walk = [int(chance.integers(APPS))]
        while len(walk) < length:
            weights = np.ones(APPS)
            weights[list(set(walk) - {walk[-1]})] = back
            walk.append(int(chance.choice(APPS, p=weights / weights.sum())))
        walks.append([position + 1 for position in walk])
    return CodedSessions.of(walks)


def test_steps_and_visits_are_counted_within_the_user_session() -> None:
    found = revisits(CodedSessions.of([[1, 2, 1, 3], [2], [2, 2, -1, 2]]), 3)
    # rows: what is known before the second, third and fourth event of the first and of the last session
    assert found.steps.tolist() == [[1, 0, 0], [2, 1, 0], [1, 2, 0], [0, 1, 0], [0, 1, 0], [0, 2, 0]]
    assert found.visits.tolist() == [[1, 0, 0], [1, 1, 0], [2, 1, 0], [0, 1, 0], [0, 2, 0], [0, 2, 0]]


def test_the_last_rows_have_no_end() -> None:
    walk = [1, *[2] * 40]
    found = revisits(CodedSessions.of([walk]), 2)
    assert found.steps[-1].tolist() == [len(STEPS), 1]
    assert found.visits[-1].tolist() == [1, len(VISITS)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(-1, APPS).filter(bool), min_size=1, max_size=30), min_size=1, max_size=8))
def test_probabilities_sum_to_one_whatever_was_learned(walks: list[list[int]]) -> None:
    sessions = CodedSessions.of(walks)
    model = RevisitingModel(Uniform(), learn_revisits(Uniform(), sessions))
    found = model.probabilities(sessions)
    assert found.shape == (len(sessions.following()), APPS)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found > 0).all()


@pytest.mark.parametrize("back", [0.2, 1.0, 5.0])
def test_a_planted_factor_is_found(back: float) -> None:
    """Within 15 %, for mini-apps opened two to nine steps ago; the current one keeps the factor 1."""
    factors = learn_revisits(Uniform(), wanderers(2_000, 25, back, seed=5))
    both = factors.steps[2:7].mean(axis=1) * factors.visits[1]
    assert both == pytest.approx([back] * 5, rel=0.15)
    assert factors.steps[1].mean() == pytest.approx(1.0, rel=0.1)
    assert factors.visits[2:4] == pytest.approx([1.0, 1.0], rel=0.15)  # more often is seen too seldom


def test_sessions_without_a_second_event_change_nothing() -> None:
    nothing = RevisitFactors.none(APPS)
    found = learn_revisits(Uniform(), CodedSessions.of([[1], [2], [3]]))
    np.testing.assert_array_equal(found.steps, nothing.steps)
    np.testing.assert_array_equal(found.visits, nothing.visits)
