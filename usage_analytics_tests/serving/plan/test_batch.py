"""The look-up for many moments at once: the same answers as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.users.user_classes import user_key
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.tables import entity_key
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics_tests.serving.made_up_plans import (
    ASKED,
    BUDGETS,
    ENTITIES,
    IBM,
    MARY,
    MINI_APPS,
    SLOTS,
    USERS,
    MadeUp,
    expected_probabilities,
    in_slot,
    made_up_plans,
)


def opened(plan: MadeUp) -> PreloadPlan:
    return PreloadPlan(plan.tables(), "a plan")


PLAN = opened(
    MadeUp(
        entries={(): {"news": 0.5}, ("quotes",): {"charts": 0.5, "news": 0.25, "quotes": 0.125}},
        saved_ms={"charts": 1000.0, "news": 800.0, "chat": 300.0},
        classes=[{"charts": 2.0, "": 0.5}],
        users={MARY: 1},
        entities={IBM: {"news": (8.0, 0.0), "chat": (1.0, 0.25)}},
    )
)


@given(made_up_plans(), st.lists(st.tuples(USERS, ASKED, ENTITIES), max_size=20), SLOTS, BUDGETS)
def test_many_at_once_are_answered_as_one_by_one(
    plan: MadeUp, asked: list[tuple[str | None, list[str | None], str | None]], slot: int, budget: Budget
) -> None:
    plans = opened(plan)
    users = np.array([0 if user is None else user_key(user) for user, _, _ in asked], dtype=np.uint64)
    entities = np.array([0 if entity is None else entity_key(entity) for _, _, entity in asked], dtype=np.uint64)
    contexts = plans.encode([context for _, context, _ in asked], length=26)
    answers = plans.next_many(users, contexts, budget, in_slot(slot), entities)
    for row, (user, context, entity) in enumerate(asked):
        single = plans.next(user, context, budget, in_slot(slot), entity)
        assert answers.orders[row] == len(single.context)
        assert answers.transitions[row] == single.transitions
        assert answers.known_users[row] == single.known_user
        assert answers.known_entities[row] == single.known_entity
        probabilities = expected_probabilities(plan, user, context, entity, plan.slot_phases[slot])
        found = [MINI_APPS[position] for position in answers.positions[row] if position >= 0]
        assert answers.probabilities[row][: len(found)] == pytest.approx(
            [probabilities[name] for name in found], rel=1e-5
        )
        assert sum(plan.payload_bytes.get(name, 1000.0) for name in found) <= budget.bytes
        # Selections of equal value may differ; in 32 bits what is worth next to nothing may round to nothing.
        total = sum(item.value_ms for item in single.items)
        assert sum(answers.values_ms[row]) == pytest.approx(total, rel=1e-4, abs=1e-2)


def test_in_32_bits_what_is_worth_next_to_nothing_may_be_left_out() -> None:
    plan = opened(MadeUp(entries={(): {"news": 0.05}}, saved_ms={"news": 1000.0}, cost_ms={"news": 50.0}))
    [item] = plan.next(None, ()).items
    assert 0 < item.value_ms < 1e-5
    [[worth]] = plan.next_many(np.zeros(1, np.uint64), plan.encode([()])).values_ms.tolist()
    assert worth == pytest.approx(item.value_ms, abs=1000.0 * 2.0**-23)


def test_without_entities_nobody_has_anything_in_hand() -> None:
    users, contexts = np.array([0, user_key(MARY)], np.uint64), PLAN.encode([("quotes",), ("news",)])
    none, zeros = PLAN.next_many(users, contexts), PLAN.next_many(users, contexts, entities=np.zeros(2, np.uint64))
    assert not none.known_entities.any() and not zeros.known_entities.any()
    for of_none, of_zeros in zip(none.positions, zeros.positions, strict=True):
        assert [each for each in of_none if each >= 0] == [each for each in of_zeros if each >= 0]


def test_many_moments_are_answered_whatever_their_number() -> None:
    rows = 20_001
    answers = PLAN.next_many(
        np.full(rows, user_key(MARY), np.uint64),
        np.full((rows, 1), MINI_APPS.index("quotes") + 1),
        entities=np.full(rows, entity_key(IBM), np.uint64),
    )
    [first] = {tuple(row) for row in answers.positions.tolist()}
    assert [MINI_APPS[position] for position in first if position >= 0] == [
        item.mini_app for item in PLAN.next(MARY, ("quotes",), entity=IBM).items
    ]


@pytest.mark.parametrize(
    ("users", "contexts", "message"),
    [
        (np.zeros(1, np.int64), np.zeros((1, 3), np.int64), "users must be uint64 and contexts whole numbers"),
        (np.zeros(1, np.uint64), np.zeros((1, 3)), "users must be uint64 and contexts whole numbers"),
        (np.zeros(2, np.uint64), np.zeros((1, 3), np.int64), r"are \(2,\) and \(1, 3\)"),
        (np.zeros(1, np.uint64), np.zeros(1, np.int64), r"are \(1,\) and \(1,\)"),
        (np.zeros(1, np.uint64), np.full((1, 3), 6), "hold the code 6, beyond the 5 mini-apps"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(users: np.ndarray, contexts: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLAN.next_many(users, contexts)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.5])
def test_a_price_that_cannot_be_is_refused(price: float) -> None:
    with pytest.raises(ValueError, match=f"the price of preloads is {price:g}; it must be a number from 0 on"):
        PLAN.next_many(np.zeros(1, np.uint64), np.zeros((1, 3), np.int64), price=price)


@pytest.mark.parametrize("entities", [np.zeros(1, np.int64), np.zeros(2, np.uint64)])
def test_entities_that_do_not_fit_are_refused(entities: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"entities must be uint64 of shape \(1,\), not "):
        PLAN.next_many(np.zeros(1, np.uint64), np.zeros((1, 3), np.int64), entities=entities)
