"""A plan's tables say what the model says."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.context_base import challenged_base
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.learned_economics import equal_economics
from usage_analytics.serving.plan.checks import check_tables
from usage_analytics.serving.plan.filling import tables_of
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics_tests.serving.contest_world import LooksBack
from usage_analytics_tests.serving.made_up_plans import FACTS
from usage_analytics_tests.serving.small_models import APPS, ENTITIES, USERS, fit, with_factors, without_factors

PRICES, PHASES_OF_SLOTS = np.ones(36), np.arange(36) % 7
ALL = Budget(100, 1e9)
walks = st.lists(st.sampled_from(APPS), min_size=3, max_size=12)
sessions = st.lists(st.lists(st.sampled_from(APPS), min_size=2, max_size=6), min_size=1, max_size=10)


def listed_in(counts: NGramModel) -> list[tuple[str | None, ...]]:
    """All contexts that there are."""
    return [(), *(each for each in counts.contexts(max_order=3) if each), *counts.contexts_from_start(max_order=3)]


@settings(max_examples=50, deadline=None)
@given(
    sessions,
    walks,
    st.booleans(),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 9),
)
def test_a_look_up_expects_what_the_model_does(
    learned: list[list[str]], opened: list[str], begun: bool, user: int, entity: int, seed: int
) -> None:
    """Whoever asks, after whatever was opened, at first or later, with whatever in hand; if all mini-apps are listed.

    But after one that nothing ever followed: the plan has no context of it, and so not its factors of what is open.
    """
    model = with_factors(fit(*learned), seed)
    free = replace(equal_economics(model.mini_apps), cost_ms=np.zeros(len(model.mini_apps)))
    contexts = listed_in(model.counts)
    assume((opened[-1],) in contexts or opened[-1] not in model.mini_apps)
    tables = tables_of(model, contexts, free, FACTS, PRICES, PHASES_OF_SLOTS)
    check_tables(tables)
    codes = [model.mini_apps.index(name) + 1 if name in model.mini_apps else -1 for name in opened]
    in_hand = [0] * (len(codes) - 1) + [entity, 0]
    # where nobody says that these are all, the model is not to see that they are
    before = [] if begun else [-1, -1, -1]
    session = CodedSessions.of([[*before, *codes, 1]], [[*(0 for _ in before), *in_hand]], [(1, 2, 0)[user]])
    expected = model.probabilities(session)[-1]
    asked = (None, *opened) if begun else opened
    answer = PreloadPlan(tables, "a").next(USERS[user], asked, ALL, entity=(None, *ENTITIES)[entity])
    told = {item.mini_app: item.probability for item in answer.items}
    for name, probability in zip(model.mini_apps, expected.tolist(), strict=True):
        if name != opened[-1]:
            assert told.get(name, 0.0) == pytest.approx(probability, rel=5e-2, abs=1e-3)
    assert answer.known_user == (user < 2) and answer.known_entity == (entity > 0)


@settings(max_examples=50, deadline=None)
@given(sessions, walks, st.integers(0, 9), st.randoms())
def test_a_plan_of_a_challenger_expects_what_was_judged(
    tmp_path_factory: pytest.TempPathFactory, learned: list[list[str]], opened: list[str], seed: int, chance: Random
) -> None:
    """However few contexts are listed, and from the start of the user session on."""
    counted = with_factors(fit(*learned), seed)
    known = listed_in(counted.counts)
    contexts = [each for each in known if each == () or (len(each) == 1 and each[0]) or chance.random() < 0.5]
    assume((opened[-1],) in contexts)
    codes_of_contexts, folder = counted.counts.encode(contexts), tmp_path_factory.getbasetemp()
    model = counted.with_base(challenged_base(LooksBack(3), counted.counts, codes_of_contexts, folder))
    free = replace(equal_economics(model.mini_apps), cost_ms=np.zeros(len(model.mini_apps)))
    codes = [model.mini_apps.index(name) + 1 if name in model.mini_apps else -1 for name in opened]
    expected = model.probabilities(CodedSessions.of([[*codes, 1]]))[-1]
    plan = PreloadPlan(tables_of(model, contexts, free, FACTS, PRICES, PHASES_OF_SLOTS), "a")
    answer = plan.next(None, (None, *opened), ALL)
    told = {item.mini_app: item.probability for item in answer.items}
    for name, probability in zip(model.mini_apps, expected.tolist(), strict=True):
        if name != opened[-1]:
            assert told.get(name, 0.0) == pytest.approx(probability, rel=5e-2, abs=1e-3)


@settings(max_examples=50)
@given(sessions, st.integers(1, 5))
def test_what_is_listed_has_the_models_probabilities(learned: list[list[str]], entries: int) -> None:
    """However little of each context is listed: the rest keeps its part."""
    model = without_factors(fit(*learned))
    counts = model.counts
    contexts = listed_in(counts)
    free = replace(equal_economics(model.mini_apps), cost_ms=np.zeros(len(model.mini_apps)))
    tables = tables_of(model, contexts, free, FACTS, PRICES, PHASES_OF_SLOTS, entries)
    check_tables(tables)
    plan = PreloadPlan(tables, "a")
    probabilities, (_, transitions) = counts.probabilities(contexts), counts.evidence(contexts)
    for row, context in enumerate(contexts):
        answer = plan.next(None, context, ALL)
        assert (answer.context, answer.transitions) == (context, transitions[row])
        likeliest = np.argsort(-probabilities[row], kind="stable")[:entries]
        expected = {model.mini_apps[place]: probabilities[row, place] for place in likeliest}
        expected.pop(context[-1] or "" if context else "", None)
        assert {item.mini_app: item.probability for item in answer.items} == pytest.approx(expected, rel=1e-4)


def test_contexts_and_economics_of_others_are_refused() -> None:
    model = without_factors(fit(["quotes", "chart"]))
    economics = equal_economics(model.mini_apps)
    with pytest.raises(ValueError, match=r"the context \('never seen',\) is none of the model's own"):
        tables_of(model, [(), ("never seen",)], economics, FACTS, PRICES, PHASES_OF_SLOTS)
    with pytest.raises(ValueError, match="the economics are of other mini-apps than the model"):
        tables_of(model, [()], equal_economics(("chart", "news")), FACTS, PRICES, PHASES_OF_SLOTS)
