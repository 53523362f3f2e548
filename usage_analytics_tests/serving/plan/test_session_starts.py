"""Plans know how user sessions begin: what is opened first, and what after it then, but not later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.learned_economics import equal_economics
from usage_analytics.serving.plan.answer import Answer
from usage_analytics.serving.plan.filling import tables_of
from usage_analytics.serving.plan.scope import MINIMUM_TRANSITIONS, contexts_anywhere, contexts_of
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics_tests.serving.made_up_plans import FACTS
from usage_analytics_tests.serving.small_models import APPS, USERS, fit, with_factors, without_factors

ALL = Budget(100, 1e9)
USUAL = ["chat", "quotes", "chart", "chat", "blotter"]  # after chat come quotes at first, later blotter
SELDOM = ["blotter", "quotes", "chart", "chat", "blotter"]
COUNTS = fit(*[USUAL] * 20, *[SELDOM] * (MINIMUM_TRANSITIONS - 1))


def plan_of(model: FactoredModel) -> PreloadPlan:
    free = replace(equal_economics(model.mini_apps), cost_ms=np.zeros(len(APPS)))
    contexts = contexts_of(model.counts, 3)
    return PreloadPlan(tables_of(model, contexts, free, FACTS, np.ones(1), np.zeros(1, np.int64)), "a")


def told(answer: Answer) -> dict[str, float]:
    return {item.mini_app: item.probability for item in answer.items}


def test_starts_are_listed_that_were_seen_as_often_as_other_contexts_must_be() -> None:
    started = set(contexts_of(COUNTS, 3)) - set(contexts_anywhere(COUNTS, 3))
    assert started == {(None,), (None, "chat"), (None, "chat", "quotes")}
    assert set(contexts_of(COUNTS, 1)) - set(contexts_anywhere(COUNTS, 1)) == {(None,)}
    assert contexts_of(COUNTS, 3)[0] == ()


def test_what_opens_a_user_session_is_as_it_was_counted() -> None:
    answer = plan_of(without_factors(COUNTS)).next(None, [None], ALL)
    assert (answer.context, answer.transitions, answer.whole_context) == ((None,), 29, True)
    counted = dict(zip(APPS, COUNTS.probabilities([(None,)])[0], strict=True))
    assert told(answer) == pytest.approx(counted, rel=1e-4)
    assert list(told(answer))[:2] == ["chat", "blotter"] and counted["chat"] > 0.6
    assert told(plan_of(with_factors(COUNTS, 3)).next(None, [None], ALL)) == pytest.approx(counted, rel=1e-4)
    of_class = plan_of(with_factors(COUNTS, 3)).next(USERS[0], [None], ALL)
    assert of_class.known_user and sum(told(of_class).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("opened", [["chat"], ["chat", "quotes"], ["chat", "quotes", "chart", "chat"]])
def test_from_the_start_on_the_plan_expects_what_the_model_does(opened: list[str]) -> None:
    model = with_factors(COUNTS, 3)
    expected = model.probabilities(CodedSessions.of([[*(APPS.index(name) + 1 for name in opened), 1]]))[-1]
    answer = plan_of(model).next(None, [None, *opened], ALL)
    likely = {name: probability for name, probability in zip(APPS, expected, strict=True) if name != opened[-1]}
    assert told(answer) == pytest.approx(likely, rel=1e-3)


def test_what_comes_first_is_told_from_what_comes_later() -> None:
    plan = plan_of(without_factors(COUNTS))
    first, later, anywhere = (
        told(plan.next(None, asked, ALL)) for asked in ([None, "chat"], ["chart", "chat"], ["chat"])
    )
    assert first["quotes"] > 0.9 and later["blotter"] > 0.9
    assert 0.3 < anywhere["quotes"] < anywhere["blotter"] < 0.7


def test_a_start_seen_seldom_is_answered_without_it() -> None:
    plan = plan_of(without_factors(COUNTS))
    answer, anywhere = plan.next(None, [None, "blotter"], ALL), plan.next(None, ["blotter"], ALL)
    assert (answer.context, answer.whole_context) == (anywhere.context, False)
    assert told(answer) == told(anywhere)


def test_many_moments_at_once_are_answered_alike() -> None:
    plan = plan_of(without_factors(COUNTS))
    asked = [[None], [None, "chat"], [None, "blotter"], ["chat"]]
    answers = plan.next_many(np.zeros(4, np.uint64), plan.encode(asked), ALL)
    for row, context in enumerate(asked):
        alone = plan.next(None, context, ALL)
        best = [APPS.index(item.mini_app) for item in alone.items]
        assert answers.positions[row, : len(best)].tolist() == best
        assert (answers.orders[row], answers.transitions[row]) == (len(alone.context), alone.transitions)
