"""What a contest has chosen is found again by the plans of its day and of later ones; else the counts answer."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.challengers.choice import COUNTS, Choice
from usage_analytics.models.branching.context_base import ContextBase, challenged_base
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.training import MODEL
from usage_analytics.serving.plan.chosen_base import BASE_FILE, CONTEST_FILE, as_served, keep_choice
from usage_analytics.serving.plan.scope import contexts_of
from usage_analytics_tests.serving.contest_world import LooksBack, blind_model
from usage_analytics_tests.serving.small_models import APPS

FRIDAY, MONDAY, TUESDAY = date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 24)
CHOSEN = Choice("gru", {"chosen": "gru"})
LOST = Choice(COUNTS, {"chosen": COUNTS})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "lake", "clicks")


def base_of(model: FactoredModel, folder: Path) -> ContextBase:
    contexts = model.counts.encode(contexts_of(model.counts, 3))
    return challenged_base(LooksBack(3), model.counts, contexts, folder)


def hold(layout: Layout, day: date, choice: Choice) -> Path:
    folder = layout.model(MODEL, day)
    folder.mkdir(parents=True, exist_ok=True)
    base = base_of(blind_model(), folder) if choice is CHOSEN else None
    keep_choice(folder, choice, APPS, base)
    return folder


@pytest.mark.parametrize("day", [MONDAY, TUESDAY])
def test_plans_of_the_day_and_later_ones_use_what_was_chosen(layout: Layout, day: date) -> None:
    hold(layout, MONDAY, CHOSEN)
    layout.model(MODEL, TUESDAY).mkdir(parents=True)
    served = as_served(layout, blind_model(day))
    assert served.told == "gru, by the contest of 2026-11-23"
    asked = served.model.counts.encode([("chart", "chat", "quotes"), ("quotes",)])
    found = served.model.base.coded_probabilities(asked)
    np.testing.assert_array_equal(found, base_of(blind_model(), layout.root).coded_probabilities(asked))
    assert APPS[int(found[0].argmax())] == "chat"


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({}, "counts: no contest was held"),
        ({TUESDAY: CHOSEN}, "counts: no contest was held"),
        ({FRIDAY: CHOSEN, MONDAY: LOST}, "counts, by the contest of 2026-11-23"),
    ],
)
def test_the_counts_answer_where_nothing_else_was_chosen(layout: Layout, held: dict[date, Choice], told: str) -> None:
    for day, choice in held.items():
        hold(layout, day, choice)
    served = as_served(layout, blind_model(MONDAY))
    assert served.told == told
    assert served.model.base is served.model.counts


def test_a_model_of_no_day_has_its_counts(layout: Layout) -> None:
    hold(layout, MONDAY, CHOSEN)
    assert as_served(layout, blind_model()).told == "counts: no contest was held"


def test_a_base_that_cannot_be_used_is_told_of(layout: Layout) -> None:
    folder, model = hold(layout, MONDAY, CHOSEN), blind_model(MONDAY)
    keep_choice(folder, CHOSEN, ("a", "b", "c", "d"), base_of(model, folder))
    assert as_served(layout, model).told == (
        "counts: the mini-apps are others than in the contest of 2026-11-23; hold another one"
    )
    (folder / BASE_FILE).write_bytes(b"broken")
    assert f"counts: {BASE_FILE} is broken" in as_served(layout, model).told
    (folder / BASE_FILE).unlink()
    assert as_served(layout, model).told.endswith(
        f"{BASE_FILE}, which the contest of 2026-11-23 has chosen, is not there"
    )
    for broken in ("{", "[]", "{}", '{"chosen": null}', '{"chosen": ""}', '{"chosen": ["gru"]}'):
        (folder / CONTEST_FILE).write_text(broken)
        assert f"counts: {CONTEST_FILE} is broken" in as_served(layout, model).told


def test_a_new_contest_leaves_nothing_of_the_one_before(layout: Layout) -> None:
    hold(layout, MONDAY, CHOSEN)
    folder = hold(layout, MONDAY, LOST)
    assert [path.name for path in folder.iterdir()] == [CONTEST_FILE]
