"""The look-up: probabilities by the rule, never the current mini-app, within the budget, and it says what it knew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given

from usage_analytics import serving
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.trading_calendar import PHASES
from usage_analytics_tests.serving.made_up_plans import (
    ASKED,
    BUDGETS,
    BUND,
    ENTITIES,
    FACTS,
    IBM,
    JOE,
    MARY,
    MINI_APPS,
    SLOTS,
    USERS,
    MadeUp,
    expected_context,
    expected_probabilities,
    expected_values,
    in_slot,
    made_up_plans,
)

AT_NINE = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)  # in New York
PLAN = MadeUp(
    entries={
        (): {"news": 0.5, "quotes": 0.25},
        ("quotes",): {"charts": 0.5, "news": 0.25, "quotes": 0.125},
        ("charts", "quotes"): {"blotter": 0.5, "charts": 0.25, "news": 0.125},
        ("news", "charts", "quotes"): {"chat": 0.75},
        (None, "quotes"): {"news": 0.5},
    },
    transitions={(): 9000, ("quotes",): 200, ("charts", "quotes"): 30, ("news", "charts", "quotes"): 12},
    saved_ms={"blotter": 400.0, "charts": 1000.0, "news": 800.0, "chat": 300.0, "quotes": 200.0},
    cost_ms=dict.fromkeys(MINI_APPS, 50.0),
    payload_bytes={"charts": 5000.0},
    revisit={(2, "charts"): 0.5, (5, "charts"): 2.0},
    classes=[{"charts": 2.0, "": 0.5}],
    users={MARY: 1},
    entities={IBM: {"charts": (0.5, 0.0)}},
)


def opened(plan: MadeUp) -> PreloadPlan:
    return PreloadPlan(plan.tables(), "a plan")


@given(made_up_plans(), USERS, ASKED, ENTITIES, SLOTS, BUDGETS)
def test_an_answer_follows_the_rule(
    plan: MadeUp, user: str | None, context: list[str | None], entity: str | None, slot: int, budget: Budget
) -> None:
    answer = opened(plan).next(user, context, budget, in_slot(slot), entity)
    phase = plan.slot_phases[slot]
    probabilities = expected_probabilities(plan, user, context, entity, phase)
    assert answer.phase == (None, *PHASES)[phase]
    in_hand = plan.entities.get(entity or "", {})
    assert (answer.known_user, answer.known_entity) == (user in plan.users, entity in plan.entities)
    assert answer.context == expected_context(plan, context)
    assert len(answer.items) <= budget.calls
    assert sum(item.payload_bytes for item in answer.items) <= budget.bytes
    assert len({item.mini_app for item in answer.items}) == len(answer.items)
    for item in answer.items:
        assert item.mini_app != (context[-1] if context else None)
        assert item.probability == pytest.approx(probabilities[item.mini_app])
        assert item.value_ms == pytest.approx(item.probability * item.saved_ms - item.cost_ms)
        assert item.value_ms > 0
        assert item.led == in_hand.get(item.mini_app, (1.0, 0.0))[1]
    assert [item.value_ms for item in answer.items] == sorted((item.value_ms for item in answer.items), reverse=True)


@given(made_up_plans(), USERS, ASKED, ENTITIES)
def test_with_room_for_all_it_leaves_out_only_what_is_not_worth_it(
    plan: MadeUp, user: str | None, context: list[str | None], entity: str | None
) -> None:
    answer = opened(plan).next(user, context, Budget(len(MINI_APPS), 1e9), entity=entity)
    values = expected_values(plan, user, context, entity)
    chosen = {item.mini_app for item in answer.items}
    assert {name for name, value in values.items() if value > 1e-9} <= chosen
    assert not chosen & {name for name, value in values.items() if value < -1e-9}


def test_the_longest_known_end_of_the_context_answers_and_it_is_named() -> None:
    plan = opened(PLAN)
    whole = plan.next(None, ("blotter", "news", "charts", "quotes"))
    assert (whole.context, whole.transitions, whole.whole_context) == (("news", "charts", "quotes"), 12, True)
    shorter = plan.next(None, ("chat", "charts", "quotes"))
    assert (shorter.context, shorter.transitions, shorter.whole_context) == (("charts", "quotes"), 30, False)
    assert {(item.context, item.transitions) for item in shorter.items} == {(("charts", "quotes"), 30)}
    anywhere = plan.next(None, ("quotes", "chat"))
    assert (anywhere.context, anywhere.whole_context) == ((), False)
    assert plan.next(None, ()).whole_context
    assert plan.next(None, (None, "quotes")).context == (None, "quotes")
    begun = plan.next(None, (None, "charts", "quotes"))
    assert (begun.context, begun.whole_context) == (("charts", "quotes"), False), "that these began one is not listed"
    assert plan.next(None, (None, "news", "charts", "quotes")).whole_context, "no plan is asked by more than three"
    beginning = plan.next(None, [None])
    assert (beginning.context, beginning.whole_context, beginning.unknown_mini_apps) == ((), False, ())
    assert beginning.items == plan.next(None, ()).items


def test_an_item_says_why() -> None:
    [item, *_] = opened(PLAN).next(MARY, ("charts", "news", "quotes")).items
    # charts: 0.5 * 2 (its factor of 3 steps is not given) among news and 1/8 not listed at 0.5 each, and quotes
    assert item.mini_app == "charts"
    assert item.probability == pytest.approx(1.0 / (1.0 + (0.25 + 0.125) * 0.5 + 0.125))
    assert (item.user_factor, item.revisit_factor, item.saved_ms, item.cost_ms) == (2.0, 1.0, 1000.0, 50.0)
    assert item.value_ms == pytest.approx(item.probability * 1000.0 - 50.0)
    assert item.payload_bytes == 5000.0


@pytest.mark.parametrize(
    ("context", "factor"),
    [
        (("charts", "quotes"), 0.5),
        (("charts", "news", "quotes"), 1.0),
        (("charts", *("news",) * 3, "quotes"), 2.0),
        (("charts", *("news",) * 4, "quotes"), 2.0),
        (("charts", *("news",) * 5, "quotes"), 1.0),
        (("charts", *("news",) * 3, "charts", "quotes"), 0.5),
        (("charts", "never seen", "never seen", "never seen", "quotes"), 2.0),
    ],
)
def test_a_revisit_counts_by_the_steps_since_the_latest_visit(context: tuple[str, ...], factor: float) -> None:
    plan = opened(replace(PLAN, entries={(): {"charts": 0.5}}))
    assert [item.revisit_factor for item in plan.next(None, context).items] == [factor]


def test_what_the_plan_does_not_know_gets_the_populations_answer_and_is_marked() -> None:
    plan = opened(PLAN)
    stranger = plan.next(JOE, ("quotes",))
    assert not stranger.known_user
    assert stranger.items == plan.next(None, ("quotes",)).items
    assert plan.next(MARY, ("quotes",)).known_user
    assert (plan.knows(MARY), plan.knows(JOE)) == (True, False)
    unheard = plan.next(MARY, ("quotes",), entity=BUND)
    assert not unheard.known_entity
    assert unheard.items == plan.next(MARY, ("quotes",)).items
    assert plan.next(MARY, ("quotes",), entity=IBM).known_entity
    assert not plan.next(MARY, ("quotes",)).known_entity
    odd = plan.next(None, ("charts", "bonds", "quotes"))
    assert (odd.unknown_mini_apps, odd.context, odd.whole_context) == (("bonds",), ("quotes",), False)
    assert plan.next(None, ("charts", "bonds")).context == ()


def test_a_phase_makes_a_difference_where_it_holds_and_is_named() -> None:
    phases = [1 + phase for phase in range(6) for _ in range(6)]
    plan = opened(replace(PLAN, phases={(1, "charts"): 4.0, (1, "news"): 0.75}, slot_phases=phases))
    early = plan.next(None, ("quotes",), at=AT_NINE - timedelta(hours=1))
    # charts 0.5 * 4 among news 0.25 * 0.75, quotes, which stays as it is, and 1/8 not listed
    assert [(item.mini_app, item.phase_factor) for item in early.items] == [("charts", 4.0), ("news", 0.75)]
    assert early.items[0].probability == pytest.approx(2.0 / (2.0 + 0.1875 + 0.125 + 0.125))
    assert early.phase == "pre_open"
    usual = plan.next(None, ("quotes",))
    assert (usual.phase, {item.phase_factor for item in usual.items}) == (None, {1.0})
    night = plan.next(None, ("quotes",), at=AT_NINE - timedelta(hours=7))
    assert (night.phase, night.items) == (None, usual.items)


def test_on_days_without_trading_no_slot_holds() -> None:
    """Nor on days that lie too far ahead."""
    plan = opened(replace(PLAN, prices=[4.0] * 36, phases={(1, "charts"): 4.0}, slot_phases=[1] * 36))
    held = plan.next(None, ("quotes",), at=AT_NINE)
    assert (held.price, held.phase) == (4.0, "pre_open")
    for days in (-3, 2, 365):  # a Saturday, Thanksgiving, the year after
        other = plan.next(None, ("quotes",), at=AT_NINE + timedelta(days=days))
        assert (other.price, other.phase, other.items) == (1.0, None, plan.next(None, ("quotes",)).items)


def test_what_is_no_budget_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a budget is a Budget\(calls, bytes\), not 3"):
        opened(PLAN).next(None, ("quotes",), 3)  # type: ignore[arg-type]


def test_the_package_gives_what_applications_ask() -> None:
    assert serving.PreloadPlan is PreloadPlan


def test_a_user_is_known_by_half_a_pseudonym_and_no_other_user_is_taken_for_one() -> None:
    plan = opened(MadeUp(classes=[{}], users={MARY: 1, JOE: 1}))
    for stranger in ("00" * 16, "a1" * 7 + "a2" + "a1" * 8, "ff" * 16):
        assert not plan.next(stranger, ()).known_user


def test_the_budget_is_a_hard_limit() -> None:
    plan = opened(PLAN)
    names = [item.mini_app for item in plan.next(None, ("quotes",)).items]
    assert names == ["charts", "news"]
    assert [item.mini_app for item in plan.next(None, ("quotes",), Budget(1, 1e9)).items] == ["charts"]
    assert [item.mini_app for item in plan.next(None, ("quotes",), Budget(3, 4999.0)).items] == ["news"]
    assert plan.next(None, ("quotes",), Budget(0, 1e9)).items == ()
    assert plan.next(None, ("quotes",), Budget(3, 0.0)).items == ()


def test_the_price_is_that_of_the_time_of_day_in_the_plans_own_zone() -> None:
    prices = [1.0] * 36
    prices[4] = 4.0  # 09:00 to 09:15
    plan = opened(replace(PLAN, prices=prices))
    dear = plan.next(None, ("quotes",), at=AT_NINE)
    assert dear.price == 4.0
    assert [item.mini_app for item in dear.items] == ["charts"]
    assert dear.items[0].value_ms == pytest.approx(0.5 * 1000 - 4 * 50)
    quarter = timedelta(minutes=15)
    for at in (AT_NINE - timedelta(seconds=1), AT_NINE + quarter, AT_NINE - timedelta(hours=5), None):
        assert plan.next(None, ("quotes",), at=at).price == 1.0
    assert plan.next(None, ("quotes",), at=AT_NINE + quarter - timedelta(seconds=1)).price == 4.0
    many = plan.next_many(np.zeros(1, dtype=np.uint64), plan.encode([("quotes",)]), at=AT_NINE)
    assert [MINI_APPS[position] for position in many.positions[0] if position >= 0] == ["charts"]


def test_what_cannot_be_asked_is_refused() -> None:
    plan = opened(PLAN)
    with pytest.raises(TypeError, match="a sequence of mini-apps, not the text 'quotes'"):
        plan.next(None, "quotes")
    with pytest.raises(ValueError, match="may only come first"):
        plan.next(None, ("quotes", None))
    with pytest.raises(ValueError, match="a user is a pseudonym, 32 hexadecimal digits, not 'mary'"):
        plan.next("mary", ())
    with pytest.raises(ValueError, match="an entity has a name, not an empty text"):
        plan.next(None, (), entity="")
    with pytest.raises(ValueError, match="an instant needs a time zone"):
        plan.next(None, (), at=datetime(2026, 11, 24, 9))


def test_a_plan_without_candidates_abstains() -> None:
    plan = opened(MadeUp(facts=FACTS))
    assert plan.next(MARY, ("quotes",)).items == ()
    assert (plan.next_many(np.zeros(2, np.uint64), plan.encode([(), ("quotes",)])).positions == -1).all()
