"""Marts that another rule would fill differently are known: a fingerprint is of all that decides what a mart holds."""

from dataclasses import replace

import pytest

from usage_analytics.tables import MARTS
from usage_analytics.warehouse.funnel_definitions import Funnel, Step
from usage_analytics.warehouse.marts import MartRules, sql
from usage_analytics.warehouse.refreshing import rule_of

ALL_MARTS = {mart.name for mart in MARTS}
NEWEST_FIRST = "(PARTITION BY trading_day, user_id ORDER BY event_time_us DESC)"
FUNNEL = Funnel("buy", 60, (Step("quotes"), Step("order_ticket")))
OTHER_RULES = {
    "order": ("usage_analytics.warehouse.marts.IN_ORDER", NEWEST_FIRST, ALL_MARTS),
    "payload": ("usage_analytics.warehouse.marts.IS_SIZED", "e.payload_bytes > 0", ALL_MARTS),
    "fold": ("usage_analytics.warehouse.refreshing.FOLD_OF_USER", "3", {"app_transitions"}),
    "steps": (
        "usage_analytics.warehouse.refreshing.funnel_matches_sql",
        lambda step: (sql("funnel_matches", is_taken="e.mini_app > :mini_app"), {"mini_app": step.mini_app}),
        {"funnels"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("changed", OTHER_RULES)
def test_a_rule_is_of_all_that_a_mart_is_made_by(monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    rules = MartRules(funnels=(FUNNEL,))
    before = {mart.name: rule_of(mart, rules) for mart in MARTS}
    name, other, marts = OTHER_RULES[changed]
    monkeypatch.setattr(name, other)
    assert {mart.name for mart in MARTS if rule_of(mart, rules) != before[mart.name]} == marts


RULES = {
    "errors": (MartRules(("error", "failed"), (FUNNEL,)), ALL_MARTS),
    "seconds": (MartRules(funnels=(replace(FUNNEL, within_s=61),)), {"funnels"}),
    "name": (MartRules(funnels=(replace(FUNNEL, name="sell"),)), {"funnels"}),
    "a step": (MartRules(funnels=(replace(FUNNEL, steps=(Step("quotes"), Step(action="order_ticket"))),)), {"funnels"}),
    "none": (MartRules(), {"funnels"}),
}


@pytest.mark.parametrize("changed", RULES)
def test_a_rule_is_of_what_users_decide(changed: str) -> None:
    rules, marts = RULES[changed]
    assert {m.name for m in MARTS if rule_of(m, rules) != rule_of(m, MartRules(funnels=(FUNNEL,)))} == marts


def test_sql_with_a_part_that_is_not_given_is_refused() -> None:
    with pytest.raises(KeyError, match="days"):
        sql("repeated_events")
