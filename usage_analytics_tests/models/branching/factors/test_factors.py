"""Factors: probabilities sum to one whatever they are; neutral where nothing is known; planted ones are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.models.branching.factors.learning import Lesson, learn_factors
from usage_analytics.models.branching.factors.situations import STEPS, situations_of, together
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.trading_calendar import PHASES

APPS, CLASSES, ENTITIES = 12, 3, 4

walks = st.lists(st.lists(st.integers(-1, APPS).filter(bool), min_size=1, max_size=30), min_size=1, max_size=8)


def uniform(sessions: CodedSessions) -> np.ndarray:
    return np.full((len(sessions.following()), APPS), 1 / APPS, np.float32)


def learned(sessions: CodedSessions, classes: int = 0, entities: int = 0) -> Factors:
    """Beside counts that tell nothing."""
    actions = sessions.following() - 1
    known = np.flatnonzero(actions >= 0)
    users = sessions.sessions_of_predictions()
    lesson = Lesson(uniform(sessions)[known], situations_of(sessions, APPS)[known], actions[known], users[known])
    return learn_factors(lesson, classes, entities)


def wanderers(sessions: int, length: int, seed: int, weigh: object) -> CodedSessions:
    """Walks whose steps have weights by what was opened before, the user's class and the entity in hand."""
    chance = np.random.default_rng(seed)
    paths, entities, classes = [], [], []
    for _ in range(sessions):
        user_class = int(chance.integers(1, CLASSES + 1))
        path, about = [int(chance.integers(APPS))], [int(chance.integers(1, ENTITIES + 1))]
        while len(path) < length:
            weights = weigh(path, user_class, about[-1])  # type: ignore[operator]
            path.append(int(chance.choice(APPS, p=weights / weights.sum())))
            about.append(int(chance.integers(1, ENTITIES + 1)))
        paths.append([position + 1 for position in path])
        entities.append(about)
        classes.append(user_class)
    return CodedSessions.of(paths, entities, classes)


def in_phases(sessions: int, likes: float, seed: int) -> CodedSessions:
    """Walks, each event in any phase; in phase p, mini-app p is opened so many times as often as each other one."""
    chance = np.random.default_rng(seed)
    paths, phases = [], []
    for _ in range(sessions):
        path, times = [int(chance.integers(APPS))], chance.integers(1, 1 + len(PHASES), 25)
        for phase in times[:-1]:
            weights = np.ones(APPS)
            weights[phase] = likes
            path.append(int(chance.choice(APPS, p=weights / weights.sum())))
        paths.append([position + 1 for position in path])
        phases.append(times.tolist())
    return CodedSessions.of(paths, phases=phases)


def test_situations_are_told_within_the_user_session() -> None:
    sessions = CodedSessions.of([[1, 2, 1, 3], [2], [2, 2, -1, 2]], [[5, 6, 7, 8], [9], [1, 2, 3, 4]], [1, 0, 2],
                                [[1, 1, 2, 2], [3], [4, 5, 5, 0]])  # fmt: skip
    found = situations_of(sessions, 3)
    # rows: what is known before the second, third and fourth event of the first and of the last session
    assert found.steps.tolist() == [[1, 0, 0], [2, 1, 0], [1, 2, 0], [0, 1, 0], [0, 1, 0], [0, 2, 0]]
    assert found.current.tolist() == [0, 1, 0, 1, 1, -1]
    assert found.entities.tolist() == [5, 6, 7, 1, 2, 3]
    assert found.user_classes.tolist() == [1, 1, 1, 2, 2, 2]
    assert found.phases.tolist() == [1, 1, 2, 4, 5, 5]


def test_the_last_row_of_steps_has_no_end() -> None:
    found = situations_of(CodedSessions.of([[1, *[2] * 40]]), 2)
    assert found.steps[-1].tolist() == [len(STEPS), 1]


def test_pieces_are_put_together_in_order() -> None:
    sessions = CodedSessions.of([[1, 2, 1, 3], [2, 3]])
    whole = situations_of(sessions, 3)
    again = together([whole[slice(0, 2)], whole[slice(2, 4)]])
    assert again.steps.tolist() == whole.steps.tolist() and again.current.tolist() == whole.current.tolist()


@settings(max_examples=50, deadline=None)
@given(walks, st.randoms(use_true_random=False))
def test_probabilities_sum_to_one_whatever_was_learned(paths: list[list[int]], chance: object) -> None:
    pick = lambda most: chance.randint(0, most)  # type: ignore[attr-defined]  # noqa: E731
    entities = [[pick(ENTITIES) for _ in path] for path in paths]
    phases = [[pick(len(PHASES)) for _ in path] for path in paths]
    sessions = CodedSessions.of(paths, entities, [pick(CLASSES) for _ in paths], phases)
    found = learned(sessions, CLASSES, ENTITIES).apply(uniform(sessions), situations_of(sessions, APPS))
    assert found.shape == (len(sessions.following()), APPS)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    assert (found > 0).all()


def test_nothing_to_learn_from_changes_nothing() -> None:
    nothing = Factors.none(APPS, CLASSES, ENTITIES)
    found = learned(CodedSessions.of([[1], [2], [3]]), CLASSES, ENTITIES)
    for name, factors in nothing.arrays().items():
        np.testing.assert_array_equal(getattr(found, name), factors)


def test_what_is_not_known_has_factors_that_change_nothing() -> None:
    def likes(path: list[int], user_class: int, entity: int) -> np.ndarray:
        weights = np.ones(APPS)
        weights[user_class] = 5.0
        return weights

    found = learned(wanderers(300, 20, 3, likes), CLASSES, ENTITIES)
    for name in ("revisits", "class_revisits", "after", "classes", "entities"):
        np.testing.assert_array_equal(getattr(found, name)[0], 1.0)
    np.testing.assert_array_equal(found.class_revisits[:, 0], 1.0)
    np.testing.assert_array_equal(found.leads[0], 0.0)


@pytest.mark.parametrize("back", [0.2, 1.0, 5.0])
def test_a_planted_factor_of_going_back_is_found(back: float) -> None:
    """Within 15 %, for mini-apps opened two to nine steps ago; the current one keeps the factor 1."""

    def weigh(path: list[int], user_class: int, entity: int) -> np.ndarray:
        weights = np.ones(APPS)
        weights[list(set(path) - {path[-1]})] = back
        return weights

    factors = learned(wanderers(2_000, 25, 5, weigh))
    assert factors.revisits[2:7].mean(axis=1) == pytest.approx([back] * 5, rel=0.15)
    assert factors.revisits[1].mean() == pytest.approx(1.0, rel=0.1)


def test_planted_factors_of_classes_are_found() -> None:
    """Of a class that opens mini-app c three times as often as others do: relative to all others, within 15 %."""

    def weigh(path: list[int], user_class: int, entity: int) -> np.ndarray:
        weights = np.ones(APPS)
        weights[user_class] = 3.0
        return weights

    factors = learned(wanderers(2_000, 25, 6, weigh), CLASSES)
    for user_class in range(1, CLASSES + 1):
        likes = factors.classes[user_class] * factors.after[1:].mean(axis=0)
        others = np.delete(likes, [0, 1, 2, 3]).mean()
        assert likes[user_class] / others == pytest.approx(3.0, rel=0.15)


def test_where_entities_lead_is_found_and_nothing_else() -> None:
    """A tenth of all steps goes where the entity in hand leads, whatever is open."""

    def weigh(path: list[int], user_class: int, entity: int) -> np.ndarray:
        weights = np.full(APPS, 0.9 / APPS)
        weights[entity + 5] += 0.1
        return weights

    factors = learned(wanderers(2_000, 25, 7, weigh), entities=ENTITIES)
    for entity in range(1, ENTITIES + 1):
        reached = factors.apply(np.full((1, APPS), 1 / APPS), _in_hand(entity))[0]
        assert reached[entity + 5] == pytest.approx(0.9 / APPS + 0.1, rel=0.1)
        assert np.delete(reached, entity + 5) == pytest.approx(np.full(APPS - 1, 0.9 / APPS), rel=0.2)


def test_planted_factors_of_phases_are_found() -> None:
    """Of a mini-app that is opened three times as often in a phase: relative to all others, within 15 %."""
    factors = learned(in_phases(2_000, 3.0, 8))
    for phase in range(1, 1 + len(PHASES)):
        reached = factors.apply(np.full((1, APPS), 1 / APPS), _in_phase(phase))[0]
        assert reached[phase] / reached[1 + len(PHASES) : -1].mean() == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_where_the_phase_tells_nothing_it_is_left_out(seed: int) -> None:
    assert (learned(in_phases(200, 1.0, seed)).phases == 1.0).all()


@pytest.mark.parametrize("users", [4, 12, 40])
def test_few_users_with_habits_and_hours_of_their_own_are_no_phase(users: int) -> None:
    """Each likes a mini-app of his own, and works in a phase of his own, by chance: seldom taken for more."""
    paid = 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        paths, phases = [], []
        for _ in range(users):
            weights = np.ones(APPS)
            weights[chance.integers(APPS)] = 5.0
            paths.append((chance.choice(APPS, 200, p=weights / weights.sum()) + 1).tolist())
            phases.append([int(chance.integers(1, 1 + len(PHASES)))] * 200)
        paid += bool((learned(CodedSessions.of(paths, phases=phases)).phases != 1.0).any())
    assert paid <= 2


def _in_phase(phase: int) -> object:
    """The last mini-app is open, which no phase likes."""
    return situations_of(CodedSessions.of([[APPS, 1]], phases=[[phase, 0]]), APPS)


def _in_hand(entity: int) -> object:
    """Something was opened that the model does not know, with an entity."""
    return situations_of(CodedSessions.of([[-1, 1]], [[entity, 0]]), APPS)
