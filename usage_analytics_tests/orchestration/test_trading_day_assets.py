"""The assets of a trading day as Dagster runs them: what a contest came to, and what the plan after it is of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from fakes import TOPIC

from usage_analytics import parts
from usage_analytics.definitions import defs
from usage_analytics.models.branching.training import train
from usage_analytics.orchestration.run_now import QUIET
from usage_analytics.settings import load_settings
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.integration.platform_under_test import clean_environment
from usage_analytics_tests.models.branching.two_kinds_of_users import DAYS, load_days

NAMES = ("next_action_challengers", "preload_plan")


@pytest.fixture
def modelled(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder with two trading days and their models, and no TensorFlow."""
    clean_environment(monkeypatch, memory_path / "home", TOPIC=TOPIC)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    settings = load_settings()
    settings.home.mkdir()
    warehouse = parts.warehouse(settings)
    assert isinstance(warehouse, DuckDBWarehouse)
    load_days(warehouse, memory_path)
    for day in DAYS:
        train(warehouse, parts.layout(settings), day)


def told_by(day: str) -> dict[str, dict[str, Any]]:
    """What the contest and the plan of a day, made in one run, say of themselves."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            partition_key=day,
            run_config=QUIET,
            asset_selection=[dg.AssetKey(name) for name in NAMES],
        )
    return {
        name: {key: value.value for key, value in event.metadata.items()}
        for name in NAMES
        for event in result.asset_materializations_for_node(name)
    }


def test_a_contest_tells_its_evidence_and_the_plan_follows_it(modelled: None) -> None:
    told = told_by(DAYS[1].isoformat())
    contest = told["next_action_challengers"]
    chosen = contest["chosen"]
    assert chosen in ("counts", "neighbours")
    assert told["preload_plan"]["probabilities_of"] == f"{chosen}, by the contest of 2026-11-23"
    assert "not trained: The recurrent network needs the ai extra" in contest["as_served"]
    assert contest["whole_sessions"].count("\n") == 3
    assert json.dumps(contest["evidence"]) and contest["evidence"]["chosen"] == chosen


def test_a_first_day_has_no_contest(modelled: None) -> None:
    told = told_by(DAYS[0].isoformat())
    assert told["next_action_challengers"]["chosen"] == "no contest"
    assert told["next_action_challengers"]["why"].startswith("No earlier trading day has a model")
    assert told["preload_plan"]["probabilities_of"] == "counts: no contest was held"
    assert told["preload_plan"]["mini_apps_measured_by_all_actions"] == 0  # all their actions are called open
