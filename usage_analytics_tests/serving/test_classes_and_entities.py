"""What users of a class have in common, and what the user has in hand: how they take part in an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from usage_analytics.serving.plan.tables import entity_key
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics_tests.serving.made_up_plans import IBM, JOE, MARY, MINI_APPS, MadeUp

PLAN = MadeUp(
    entries={
        (): {"quotes": 0.5, "news": 0.25},
        ("quotes",): {"charts": 0.5, "news": 0.25, "quotes": 0.125},
        ("charts", "quotes"): {"blotter": 0.5, "charts": 0.25, "news": 0.125},
    },
    saved_ms={"blotter": 400.0, "charts": 1000.0, "news": 800.0, "quotes": 200.0},
    cost_ms=dict.fromkeys(MINI_APPS, 50.0),
    revisit={(2, "charts"): 0.5},
    classes=[{"charts": 2.0, "": 0.5}, {"blotter": 4.0}],
    class_revisit={(2, 2): 4.0},
    users={MARY: 1, JOE: 2},
    entities={IBM: {"charts": (0.5, 0.0), "blotter": (2.0, 0.25), "quotes": (8.0, 0.125)}},
)


def opened(plan: MadeUp) -> PreloadPlan:
    return PreloadPlan(plan.tables(), "a plan")


def test_an_entity_is_kept_under_the_number_that_any_blake2b_gives() -> None:
    assert f"{entity_key('IBM'):016x}" == "0a707c229635024e"
    with pytest.raises(ValueError, match="an entity has a name, not an empty text"):
        entity_key("")


def test_an_item_says_what_is_due_to_what_the_user_has_in_hand() -> None:
    plan = opened(PLAN)
    found = {item.mini_app: item for item in plan.next(None, ("quotes",), entity=IBM).items}
    # 3/8 is led to blotter and quotes; the rest is shared: charts 0.5 * 0.5, news 0.25, quotes 1/8, not listed 1/8
    assert found["charts"].probability == pytest.approx(0.625 * 0.25 / 0.75)
    assert (found["charts"].entity_factor, found["charts"].led) == (0.5, 0.0)
    assert (found["news"].entity_factor, found["news"].led) == (1.0, 0.0)
    # after quotes, blotter is not listed: nothing but IBM leads there, and what would multiply has nothing to
    blotter = found["blotter"]
    assert (blotter.probability, blotter.led, blotter.entity_factor, blotter.user_factor) == (0.25, 0.25, 1.0, 1.0)
    assert "quotes" not in found
    # where it is listed: 0.625 of 0.5 * 2 among charts 0.25 * 0.5 * 0.5, news 0.125, and not listed 0.125
    [first, *_] = plan.next(None, ("charts", "quotes"), entity=IBM).items
    assert (first.mini_app, first.entity_factor, first.led) == ("blotter", 2.0, 0.25)
    assert first.probability == pytest.approx(0.25 + 0.625 * 1.0 / 1.3125)


def test_where_nothing_has_weight_only_leads_remain() -> None:
    none_of_it = MadeUp(
        entries={(): {"news": 1.0}},
        saved_ms={"news": 1000.0, "chat": 1000.0},
        classes=[{"": 0.0}],
        users={MARY: 1},
        entities={IBM: {"news": (1.0, 0.25), "chat": (1.0, 0.5)}},
    )
    plan = opened(none_of_it)
    assert plan.next(MARY, ()).items == ()
    items = plan.next(MARY, (), entity=IBM).items
    assert [(item.mini_app, item.probability, item.led) for item in items] == [
        ("chat", 0.5, 0.5),
        ("news", 0.25, 0.25),
    ]


def test_classes_differ_in_what_they_come_back_to() -> None:
    plan = opened(PLAN)
    factors = {
        user: {item.mini_app: item.revisit_factor for item in plan.next(user, ("charts", "quotes")).items}["charts"]
        for user in (None, MARY, JOE)
    }
    assert factors == {None: 0.5, MARY: 0.5, JOE: 2.0}


def test_liking_the_current_mini_app_makes_nobody_stay() -> None:
    entries = {(): PLAN.entries[()]}
    plan = opened(replace(PLAN, entries=entries, classes=[{"quotes": 64.0}], users={MARY: 1}))
    expected = [item.probability for item in plan.next(None, ("quotes",)).items]
    assert expected == [0.25]
    assert [item.probability for item in plan.next(MARY, ("quotes",)).items] == expected
    assert plan.next(MARY, ("chat",)).items[0].probability == pytest.approx(32.0 / 32.5)
