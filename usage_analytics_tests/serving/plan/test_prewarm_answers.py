"""What a plan answers to "what is to be fetched now": by the rule, within both budgets, and why there is nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics_tests.serving.made_up_plans import (
    BUDGETS,
    FACTS,
    JOE,
    MARY,
    USERS,
    MadeUp,
    MadeUpPrewarm,
    prewarmed_plans,
)

NEW_YORK = ZoneInfo("America/New_York")
MIDNIGHT = datetime(2026, 11, 24, tzinfo=NEW_YORK)
QUARTER_PAST_NINE = MIDNIGHT.replace(hour=9, minute=15)
PLAN = MadeUp(
    saved_ms={"charts": 500.0, "news": 400.0, "quotes": 100.0},
    cost_ms={"charts": 20.0, "news": 10.0, "quotes": 20.0},
    classes=[{}, {}],
    users={MARY: 1, JOE: 2},
    prices=[1.0] * 6 + [5.0, 3.0] + [1.0] * 10 + [2.0, 2.0] + [1.0] * 16,
    prewarms=[
        MadeUpPrewarm(5, 8, 1.5, [{"charts": 0.25, "quotes": 0.125}, {"news": 0.5, "charts": 0.125}, {"quotes": 0.25}]),
        MadeUpPrewarm(16, 19, 1.0, [{"charts": 0.5}] * 3),
        MadeUpPrewarm(17, 19, 1.0, [{"charts": 0.5}] * 3),
    ],
)


@given(prewarmed_plans(), USERS, BUDGETS, st.integers(0, 24 * 60 - 1))
def test_an_answer_is_what_the_rule_says_and_within_the_budget(
    plan: MadeUp, user: str | None, budget: Budget, minute: int
) -> None:
    answer = PreloadPlan(plan.tables(), "a").prewarm(user, MIDNIGHT + timedelta(minutes=minute), budget)
    assert answer.known_user == (user in plan.users)
    here = [each for each in plan.prewarms if each.slot == (minute - 8 * 60) // 15]
    if not here:
        assert (answer.items, answer.price, answer.times) == ((), None, ()) and answer.nothing_because
        return
    [row] = here
    chances = row.chances[plan.users.get(user or "", 0)]
    worth = {
        name: chances.get(name, 0.0) * plan.saved_ms.get(name, 1.0) - row.price * plan.cost_ms.get(name, 1.0)
        for name in plan.mini_apps
    }
    told = {item.mini_app: item.value_ms for item in answer.items}
    assert told == pytest.approx({name: worth[name] for name in told})
    assert list(told.values()) == sorted(told.values(), reverse=True) and all(value > 0 for value in told.values())
    assert len(told) <= min(budget.calls, FACTS.budget.calls)
    assert sum(item.payload_bytes for item in answer.items) <= min(budget.bytes, FACTS.budget.bytes)
    assert answer.price == row.price and bool(answer.items) == (answer.nothing_because is None)
    sizes = {name: plan.payload_bytes.get(name, 1000.0) for name in plan.mini_apps}
    if not told and budget.calls:
        assert not [name for name, value in worth.items() if value > 0 and sizes[name] <= budget.bytes]
    for item in answer.items:
        told_of = (item.chance, item.saved_ms, item.cost_ms, item.payload_bytes)
        name = item.mini_app
        assert told_of == (chances[name], plan.saved_ms.get(name, 1.0), plan.cost_ms.get(name, 1.0), sizes[name])


def test_each_class_has_its_own_and_who_is_not_known_the_populations() -> None:
    plan = PreloadPlan(PLAN.tables(), "a")
    mary, joe, new, nobody = (plan.prewarm(user, QUARTER_PAST_NINE) for user in (MARY, JOE, "c3" * 16, None))
    assert [(item.mini_app, item.value_ms) for item in mary.items] == [("news", 185.0), ("charts", 32.5)]
    assert [item.mini_app for item in nobody.items] == ["charts"]
    assert new == nobody and not nobody.known_user and mary.known_user
    assert joe.items == () and joe.known_user, "a quarter of 100 ms is less than 20 at 1.5"
    assert joe.nothing_because == "nothing is likely enough to be worth its price, or it does not fit the budget"
    assert mary.times == joe.times == ("09:30-10:00",), "both dear slots, which follow each other"


def test_times_are_those_that_are_dearer() -> None:
    plan = PreloadPlan(PLAN.tables(), "a")
    assert plan.prewarm(None, MIDNIGHT.replace(hour=12, minute=10)).times == ("12:30-12:45",)


def test_outside_it_is_said_when() -> None:
    plan = PreloadPlan(PLAN.tables(), "a")
    for at in (QUARTER_PAST_NINE.replace(minute=30), MIDNIGHT, MIDNIGHT.replace(hour=23)):
        told = plan.prewarm(MARY, at)
        assert told.nothing_because == "it is fetched ahead at 09:15-09:30, 12:00-12:30 only (America/New_York)"
        assert told.items == () and told.known_user
    friday = plan.prewarm(MARY, QUARTER_PAST_NINE + timedelta(days=3))
    assert friday.nothing_because == (
        "this plan tells prices of preloads on trading days from 2026-07-01 to 2026-11-24 only, "
        "and 2026-11-27 is none of them"
    )
    never = PreloadPlan(MadeUp().tables(), "a").prewarm(None, QUARTER_PAST_NINE)
    assert str(never.nothing_because).startswith("this plan fetches nothing ahead")


def test_the_local_time_decides_in_summer_as_in_winter() -> None:
    plan = PreloadPlan(PLAN.tables(), "a")
    for at in (datetime(2026, 11, 24, 14, 20, tzinfo=UTC), datetime(2026, 7, 1, 13, 20, tzinfo=UTC)):
        assert plan.prewarm(MARY, at).items
    assert not plan.prewarm(MARY, datetime(2026, 7, 1, 14, 20, tzinfo=UTC)).items


def test_the_plans_own_budget_is_never_exceeded() -> None:
    """The back end was reckoned to have room for that much."""
    chances = [dict.fromkeys(PLAN.mini_apps, 1.0)] * 3
    plan = PreloadPlan(
        MadeUp(saved_ms=dict.fromkeys(PLAN.mini_apps, 90.0), classes=[{}, {}], prices=PLAN.prices,
               prewarms=[MadeUpPrewarm(5, 8, 1.0, chances)]).tables(), "a",
    )  # fmt: skip
    assert len(plan.prewarm(None, QUARTER_PAST_NINE).items) == FACTS.budget.calls == 3
    assert len(plan.prewarm(None, QUARTER_PAST_NINE, Budget(5, 1e12)).items) == 3
    assert len(plan.prewarm(None, QUARTER_PAST_NINE, Budget(5, 2500.0)).items) == 2


def test_what_cannot_be_is_refused() -> None:
    plan = PreloadPlan(PLAN.tables(), "a")
    with pytest.raises(ValueError, match="an instant needs a time zone: 2026-11-24 09:15:00"):
        plan.prewarm(MARY, datetime(2026, 11, 24, 9, 15))
    for user in ("", "mary"):
        with pytest.raises(ValueError, match=f"a user is a pseudonym, 32 hexadecimal digits, not '{user}'"):
            plan.prewarm(user, QUARTER_PAST_NINE)
