"""A challenger is used only where the plan improves by it; what is kept is what was judged."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.challengers.choice import COUNTS
from usage_analytics.models.branching.challengers.trained_challengers import GRU, NEIGHBOURS
from usage_analytics.models.branching.factored_model import COUNTS_FILE
from usage_analytics.models.branching.scoring import score
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, read_sessions
from usage_analytics.models.branching.training import MODEL, SESSIONS, train
from usage_analytics.reporting.contest_evidence import contest_told, whole_sessions_told
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.learned_economics import equal_economics
from usage_analytics.serving.decisions.session_moments import known_moments
from usage_analytics.serving.judging.model_contest import compete, hold_contest, worth_of
from usage_analytics.serving.judging.policies import ExpectedValue
from usage_analytics.serving.judging.replay import replay
from usage_analytics.serving.plan.chosen_base import BASE_FILE, CONTEST_FILE
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.models.branching.two_kinds_of_users import DAYS, load_days
from usage_analytics_tests.serving.contest_world import LooksBack, blind_model, write_world
from usage_analytics_tests.serving.small_models import APPS, fit, with_factors

CHEAP = equal_economics(APPS)  # worth it from a probability of 0.05 on: three of the four, whatever is expected
ECONOMICS = replace(CHEAP, cost_ms=np.full(len(APPS), 200.0))  # from 0.2 on


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "lake", "clicks")


def test_who_knows_what_three_steps_lead_to_wins(tmp_path: Path) -> None:
    sample = write_world(tmp_path / SESSIONS, back=3)
    choice = compete(blind_model(), {"knowing": LooksBack(3), "wrong": LooksBack(2)}, sample, ECONOMICS)
    assert choice.name == "knowing"
    told = choice.evidence["as_served"]
    assert told["knowing"]["beats_counts"] and told["knowing"]["log_loss_gain"] > 0.5
    assert told["knowing"]["net_benefit_gain_ms"] > 50
    assert told["wrong"]["why_not"] == (
        "its log-loss is not better by more than its standard error; "
        "its net benefit is not greater by more than its standard error"
    )
    assert json.loads(json.dumps(choice.evidence)) == choice.evidence


def test_a_better_prediction_that_changes_no_decision_is_not_used(tmp_path: Path) -> None:
    sample = write_world(tmp_path / SESSIONS, back=3)
    choice = compete(blind_model(), {"knowing": LooksBack(3)}, sample, CHEAP)
    assert choice.name == COUNTS
    told = choice.evidence["as_served"]["knowing"]
    assert told["log_loss_gain"] > 0.5
    assert told["why_not"] == "its net benefit is not greater by more than its standard error"


def test_who_needs_more_than_a_plan_is_asked_by_gains_nothing(tmp_path: Path) -> None:
    """Shown whole sessions it predicts far better than the counts; but no plan could use that."""
    sample = write_world(tmp_path / SESSIONS, back=4)
    choice = compete(blind_model(), {"knowing": LooksBack(4)}, sample, ECONOMICS)
    assert choice.name == COUNTS
    assert "not better by more than its standard error" in choice.evidence["as_served"]["knowing"]["why_not"]
    whole = choice.evidence["whole_sessions"]
    assert whole["knowing"]["log_loss"] < whole[COUNTS]["log_loss"] - 0.5


def test_a_challenger_no_better_than_the_counts_is_told_so(tmp_path: Path) -> None:
    sample = write_world(tmp_path / SESSIONS, back=1)
    choice = compete(blind_model(), {"equal": LooksBack(back=99)}, sample, ECONOMICS)
    evidence = {**choice.evidence, "not_trained": {GRU: "TensorFlow is not there"}}
    assert choice.name == COUNTS
    assert evidence["as_served"]["equal"]["log_loss_gain"] == pytest.approx(0.0, abs=1e-5)
    lines = contest_told(evidence).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {name}" for name in (COUNTS, "equal", GRU)]
    assert "its log-loss is not better by more than its standard error" in lines[3]
    assert "TensorFlow is not there" in lines[4]
    assert len(whole_sessions_told(evidence).splitlines()) == 4


@given(st.integers(0, 2**16), st.integers(0, 3), st.sampled_from([0.0, 1e6, 4e6, 1e9]))
def test_net_benefits_of_users_add_up_to_the_replay(
    tmp_path_factory: pytest.TempPathFactory, seed: int, calls: int, room: float
) -> None:
    sample = write_world(tmp_path_factory.mktemp("world") / SESSIONS, back=2, users=7, events=9, seed=seed)
    model, chance = with_factors(fit([*APPS, *APPS[::-1]]), seed), np.random.default_rng(seed)
    drawn = [chance.uniform(0, most, len(APPS)) for most in (9e4, 3e4, 3e6)]
    economics = replace(CHEAP, saved_ms=drawn[0], cost_ms=drawn[1], payload_bytes=drawn[2])
    budget = Budget(calls, room)
    batches = list(read_sessions([sample], model.mini_apps, range(FOLDS), model.known))
    scores = score(model, batches, worth_of(economics, budget))
    outcome = replay(ExpectedValue(economics, budget), known_moments(model, batches), economics, budget)
    assert scores.by_user.net_benefit_ms is not None
    assert scores.by_user.net_benefit_ms.sum() == pytest.approx(outcome.saved_ms - outcome.cost_ms)
    assert scores.net_benefit_ms == pytest.approx(outcome.net_ms_per_transition)
    assert len(scores.by_user.users) == 7


def test_without_an_earlier_day_or_a_sample_there_is_no_contest(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    load_days(warehouse, memory_path)
    train(warehouse, layout, DAYS[0])
    assert hold_contest(warehouse, layout, DAYS[0]) is None  # no earlier day
    assert hold_contest(warehouse, layout, DAYS[1]) is None  # nothing to judge by
    assert not list(layout.root.rglob(CONTEST_FILE))


def test_a_day_whose_model_is_broken_is_told_of(warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout) -> None:
    load_days(warehouse, memory_path)
    for day in DAYS:
        train(warehouse, layout, day)
    (layout.model(MODEL, DAYS[1]) / COUNTS_FILE).unlink()
    with pytest.raises(UserError, match=r"next_action_challengers of 2026-11-23: .*; materialize next_action_model"):
        hold_contest(warehouse, layout, DAYS[1])


def test_without_tensorflow_the_others_compete(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    load_days(warehouse, memory_path)
    for day in DAYS:
        train(warehouse, layout, day)
    choice = hold_contest(warehouse, layout, DAYS[1])
    assert choice is not None and choice.evidence["as_served"].keys() == {COUNTS, NEIGHBOURS}
    assert "needs the ai extra (pip install 'usage_analytics[ai]')" in choice.evidence["not_trained"][GRU]
    assert choice.evidence["learned_from"] == ["2026-11-20"]
    assert choice.evidence["model_of_the_day_before"] == "2026-11-20"
    assert_kept(layout, choice.name, choice.evidence)


@pytest.fixture
def _tensorflow() -> None:
    """Not while tests are collected: the import takes ten seconds."""
    pytest.importorskip("tensorflow", reason="trains with TensorFlow: install the [ai] extra", exc_type=ImportError)


@pytest.mark.usefixtures("_tensorflow")
def test_all_compete_and_a_second_contest_comes_to_the_same(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    load_days(warehouse, memory_path)
    for day in DAYS:
        train(warehouse, layout, day)
    told: list[str] = []
    choice = hold_contest(warehouse, layout, DAYS[1], told.append)
    assert choice is not None and choice.evidence["not_trained"] == {}
    assert choice.evidence["as_served"].keys() == choice.evidence["whole_sessions"].keys() == {COUNTS, NEIGHBOURS, GRU}
    assert any(line.startswith("gru: epoch 2 of 20 at most; log-loss so far") for line in told)
    assert_kept(layout, choice.name, choice.evidence)
    told.clear()
    again = hold_contest(warehouse, layout, DAYS[1], told.append)
    assert again == choice
    assert not [line for line in told if "epoch" in line], "the network was trained already"


def assert_kept(layout: Layout, name: str, evidence: dict[str, object]) -> None:
    folder = layout.model(MODEL, DAYS[1])
    assert json.loads((folder / CONTEST_FILE).read_text("utf-8")) == evidence
    assert (folder / BASE_FILE).exists() == (name != COUNTS)
