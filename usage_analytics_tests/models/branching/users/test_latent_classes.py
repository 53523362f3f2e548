"""Latent classes: planted ones are found again, users of few visits have none, the same visits the same classes."""

from __future__ import annotations

import numpy as np

from usage_analytics.models.branching.users.latent_classes import LEAST_VISITS, learn_classes
from usage_analytics.models.branching.users.user_classes import NO_CLASS

NAMES = tuple(f"app{number:02}" for number in range(20))


def planted(users: int, visits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Visits of users of four kinds, each with likes of its own."""
    chance = np.random.default_rng(seed)
    likes = chance.dirichlet(np.full(len(NAMES), 0.5), 4)
    kind = chance.integers(4, size=users)
    return np.array([chance.multinomial(visits, likes[each]) for each in kind], np.float64), kind


def test_planted_kinds_of_users_are_told_apart() -> None:
    visits, kind = planted(600, 80, seed=1)
    found = learn_classes(visits, NAMES, most=8)
    told = found.of(visits)
    assert (told != NO_CLASS).mean() > 0.9
    for user_class in np.unique(told[told != NO_CLASS]):
        _, counts = np.unique(kind[told == user_class], return_counts=True)
        assert counts.max() / counts.sum() > 0.97


def test_classes_are_used_for_users_who_were_not_there() -> None:
    visits, _ = planted(600, 80, seed=2)
    found = learn_classes(visits, NAMES, most=4)
    more, kind = planted(200, 80, seed=2)
    told = found.of(more)
    pairs = {(a, b) for a, b in zip(told.tolist(), kind.tolist(), strict=True) if a != NO_CLASS}
    assert len({a for a, _ in pairs}) > 1


def test_a_user_of_few_visits_has_no_class() -> None:
    visits, _ = planted(600, 80, seed=3)
    few = np.zeros((1, len(NAMES)))
    few[0, 3] = LEAST_VISITS - 1
    assert learn_classes(visits, NAMES).of(few).tolist() == [NO_CLASS]


def test_too_few_users_have_no_classes() -> None:
    visits, _ = planted(30, 80, seed=4)
    found = learn_classes(visits, NAMES)
    assert len(found) == 0
    assert found.of(visits).tolist() == [NO_CLASS] * 30
    assert len(learn_classes(np.empty((0, len(NAMES))), NAMES)) == 0


def test_users_who_are_all_alike_are_no_error() -> None:
    visits = np.tile(np.arange(len(NAMES)) * 5.0, (100, 1))
    assert set(learn_classes(visits, NAMES).of(visits).tolist()) <= {NO_CLASS, 1, 2, 3, 4}


def test_the_same_visits_give_the_same_classes() -> None:
    visits, _ = planted(400, 60, seed=5)
    one, other = (learn_classes(visits, NAMES).of(visits) for _ in range(2))
    assert one.tolist() == other.tolist()
