"""The assets of a trading day as Dagster runs them: what a contest came to, what the plan after it is of, the close."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from fakes import TOPIC, enriched_chunk

from usage_analytics import parts
from usage_analytics.definitions import defs
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.training import MODEL, train
from usage_analytics.orchestration import schedules
from usage_analytics.orchestration.resources import Platform
from usage_analytics.orchestration.run_now import QUIET
from usage_analytics.settings import load_settings
from usage_analytics.tables import MARTS, PRELOAD_PLAN
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.integration.platform_under_test import clean_environment
from usage_analytics_tests.models.branching.two_kinds_of_users import DAYS, events_of, load_days
from usage_analytics_tests.models.branching.two_kinds_of_users import MARTS as LOADED

NAMES = ("next_action_challengers", "preload_plan")
MODEL_AND_PLAN = {"next_action_model", PRELOAD_PLAN.name}
NEW_YORK = ZoneInfo("America/New_York")
EVERYTHING = {mart.name for mart in MARTS} | MODEL_AND_PLAN


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


@pytest.fixture
def three_days(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> DuckDBWarehouse:
    """A home folder whose warehouse holds three trading days, none of which was closed."""
    clean_environment(monkeypatch, memory_path / "home", TOPIC=TOPIC)
    settings = load_settings()
    settings.home.mkdir()
    warehouse = parts.warehouse(settings)
    assert isinstance(warehouse, DuckDBWarehouse)
    load_days(warehouse, memory_path, [date(2026, 11, 19), *DAYS])
    return warehouse


def close_in_the_evening_of(day: date) -> dict[str, set[str]]:
    """Runs what the close asks for, in its order; by trading day, what was made."""
    made: dict[str, set[str]] = {}
    evening = datetime(day.year, day.month, day.day, 17, 5, tzinfo=NEW_YORK)
    with dg.DagsterInstance.ephemeral() as instance:
        built = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=evening, repository_def=defs.get_repository_def(),
            resources={"platform": Platform()},
        )  # fmt: skip
        with built as context:
            asked = schedules.close_trading_day.evaluate_tick(context)
        for request in asked.run_requests or ():
            result = defs.resolve_job_def("trading_day_close").execute_in_process(
                instance=instance,
                partition_key=request.partition_key,
                run_config=QUIET,
                asset_selection=request.asset_selection,
            )
            assert request.partition_key is not None and result.success
            made[request.partition_key] = {
                event.asset_key.to_user_string()
                for event in result.get_asset_materialization_events()
                if event.asset_key is not None
            }
    return made


def test_a_close_models_the_newest_day_alone(three_days: DuckDBWarehouse, memory_path: Path) -> None:
    """However many days are stale: at first, by a rule that changed, by late events."""
    marts = EVERYTHING - MODEL_AND_PLAN
    other = marts - set(LOADED)
    keys = ["2026-11-19", "2026-11-20", "2026-11-23"]
    # What `load_days` has refreshed is not stale in the days before.
    assert close_in_the_evening_of(DAYS[1]) == {keys[0]: other, keys[1]: other, keys[2]: EVERYTHING}
    assert close_in_the_evening_of(DAYS[1]) == {}
    layout = parts.layout(load_settings())
    assert layout.model_days(MODEL) == DAYS[1:]

    with three_days.writing() as session:
        session.run("UPDATE mart_ledger SET rule = 'of before' WHERE mart IN ('friction', 'funnels')")
    changed = {"friction", "funnels"}
    assert close_in_the_evening_of(DAYS[1]) == {keys[0]: changed, keys[1]: changed, keys[2]: EVERYTHING}

    late = [{**event, "event_id": f"late {number}"} for number, event in enumerate(events_of(DAYS[0], seed=5)[:50])]
    chunk = enriched_chunk(memory_path, "2026-11-23T1500", 0, 900_000, late)
    three_days.load_window(TOPIC, "2026-11-23T1500", [chunk])
    assert close_in_the_evening_of(DAYS[1]) == {keys[1]: marts}
    assert layout.model_days(MODEL) == DAYS[1:]


def test_what_late_events_add_to_a_day_the_next_model_learns(three_days: DuckDBWarehouse, memory_path: Path) -> None:
    close_in_the_evening_of(DAYS[0])
    late = {**events_of(DAYS[0], seed=5)[0], "event_id": "late", "mini_app": "came late"}
    three_days.load_window(
        TOPIC, "2026-11-23T1500", [enriched_chunk(memory_path, "2026-11-23T1500", 0, 900_000, [late])]
    )
    made = close_in_the_evening_of(DAYS[1])
    assert made["2026-11-20"] == EVERYTHING - MODEL_AND_PLAN and made["2026-11-23"] == EVERYTHING
    layout = parts.layout(load_settings())
    apps = [FactoredModel.load(layout.model(MODEL, day)).mini_apps for day in DAYS]
    assert "came late" not in apps[0] and "came late" in apps[1]


def test_a_plan_of_a_model_that_does_not_know_late_events_is_stale(
    three_days: DuckDBWarehouse, memory_path: Path
) -> None:
    """The marts were made again by hand, then the plan alone: the next close makes model and plan."""
    close_in_the_evening_of(DAYS[1])
    late = {**events_of(DAYS[1], seed=5)[0], "event_id": "late"}
    three_days.load_window(
        TOPIC, "2026-11-23T1500", [enriched_chunk(memory_path, "2026-11-23T1500", 0, 900_000, [late])]
    )
    with dg.DagsterInstance.ephemeral() as instance:
        for names in ([mart.name for mart in MARTS], [PRELOAD_PLAN.name]):
            chosen = [dg.AssetKey(name) for name in names]
            job = defs.resolve_job_def("trading_day_close")
            made = job.execute_in_process(
                instance=instance, partition_key="2026-11-23", run_config=QUIET, asset_selection=chosen
            )
            assert made.success
    assert close_in_the_evening_of(DAYS[1]) == {"2026-11-23": EVERYTHING}
    assert close_in_the_evening_of(DAYS[1]) == {}


def test_the_warehouse_is_held_for_marts_alone() -> None:
    """By what the queue counts a run's turns at a pool, for the whole run: training must not keep loads waiting."""
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        pools = {}
        for names in (NAMES, ("next_action_model", *NAMES), ("friction",)):
            chosen = job.get_subset(asset_selection={dg.AssetKey(name) for name in names})
            counted = instance.create_run_for_job(chosen).run_op_concurrency
            pools[names[0]] = counted.all_pools if counted else set()
    assert pools == {"next_action_challengers": set(), "next_action_model": set(), "friction": {"warehouse"}}
