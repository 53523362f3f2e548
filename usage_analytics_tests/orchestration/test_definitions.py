"""The asset graph as Dagster sees it: loads lightly, and every asset says what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from usage_analytics.definitions import defs
from usage_analytics.orchestration.partitions import SETTINGS, TRADING_DAYS, WINDOWS

# Bounds of a code server's process: a definition that starts an engine or a pool of threads would break them.
LOAD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
import usage_analytics.definitions
heavy = "tensorflow torch pyspark pyodbc sklearn pgmpy pandas matplotlib scipy.stats".split()
print(",".join(name for name in heavy if name in sys.modules))
print(",".join(asset.key.to_user_string() for asset in usage_analytics.definitions.defs.resolve_all_asset_specs()))
"""
KINDS = """
import usage_analytics.definitions
for asset in usage_analytics.definitions.defs.resolve_all_asset_specs():
    print(asset.key.to_user_string() + ": " + " ".join(sorted(asset.kinds)))
"""
ASSETS = {
    "usage_messages", "raw_messages", "usage_events", "loaded_events",
    "user_sessions", "app_transitions", "next_action_model", "next_action_challengers", "preload_plan",
}  # fmt: skip


def asset_specs() -> list[dg.AssetSpec]:
    return list(defs.resolve_all_asset_specs())


def test_loads_in_a_fresh_interpreter_without_heavy_libraries() -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    heavy, assets = done.stdout.splitlines()
    assert set(heavy.split(",")) - {"", "pandas"} == set()  # pandas comes with exchange_calendars
    assert set(assets.split(",")) >= ASSETS


def test_loading_creates_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "USAGE_ANALYTICS_HOME": f"{tmp_path}/home"}
    subprocess.run(
        [sys.executable, "-c", "import usage_analytics.definitions"], cwd=tmp_path, check=True, env=environment
    )
    assert list(tmp_path.iterdir()) == []


def test_every_asset_is_described() -> None:
    specs = asset_specs()
    assert {spec.key.to_user_string() for spec in specs} >= ASSETS
    for spec in specs:
        told = {
            "group": spec.group_name not in (None, "default"),
            "owners": bool(spec.owners),
            "kinds": bool(spec.kinds),
            "description": len(spec.description or "") > 40,
        }
        assert all(told.values()), f"{spec.key.to_user_string()}: {told}"


@pytest.mark.parametrize("store", ["duckdb", "synapse"])
def test_tables_are_marked_by_the_store_that_is_set(store: str) -> None:
    pool = (
        {"SERVER": "s", "DATABASE": "d", "LAKE": "https://a.dfs.core.windows.net/c/lake"} if store != "duckdb" else {}
    )
    settings = {f"USAGE_ANALYTICS_SYNAPSE_{name}": value for name, value in pool.items()}
    done = subprocess.run(
        [sys.executable, "-c", KINDS], capture_output=True, text=True, check=True, env={**os.environ, **settings}
    )
    marked = dict(line.split(": ") for line in done.stdout.splitlines())
    assert {marked[name] for name in ("loaded_events", "user_sessions", "friction")} == {f"{store} table"}
    assert marked["usage_events"] == "duckdb parquet"  # which engine enriches does not depend on it


def test_every_asset_made_here_is_partitioned_and_reaches_the_topic() -> None:
    graph = {spec.key: spec for spec in asset_specs()}
    topic = dg.AssetKey("usage_messages")
    for spec in graph.values():
        if spec.key == topic:
            continue
        assert spec.partitions_def in (WINDOWS, TRADING_DAYS), spec.key
        seen, left = set(), [spec.key]
        while left:
            key = left.pop()
            seen.add(key)
            left += [dep.asset_key for dep in graph[key].deps]
        assert topic in seen, f"{spec.key.to_user_string()} does not come from Kafka"


def test_jobs_sensors_schedules_and_checks_are_there() -> None:
    repository = defs.get_repository_def()
    assert {"micro_batch", "trading_day_close"} <= set(repository.job_names)
    assert repository.has_sensor_def("waiting_messages")
    for name in ("flush_window", "close_trading_day"):
        assert repository.get_schedule_def(name).default_status is dg.DefaultScheduleStatus.RUNNING
    assert repository.get_sensor_def("waiting_messages").default_status is dg.DefaultSensorStatus.RUNNING
    checks = {spec.name: spec.blocking for check in defs.asset_checks or () for spec in check.check_specs}
    assert checks["offsets_tile"] and checks["counts_reconcile"] and checks["plan_is_a_plan"]


def test_challengers_are_trained_when_asked_for_not_at_the_close() -> None:
    """Minutes of training; yet a plan that is made in one run with them comes after them."""
    closed = {
        key.to_user_string() for key in defs.resolve_job_def("trading_day_close").asset_layer.executable_asset_keys
    }
    assert {"next_action_model", "preload_plan"} <= closed and "next_action_challengers" not in closed
    plan = next(spec for spec in asset_specs() if spec.key.to_user_string() == "preload_plan")
    assert dg.AssetKey("next_action_challengers") in {dep.asset_key for dep in plan.deps}


@pytest.mark.parametrize("job", ["micro_batch", "trading_day_close"])
def test_jobs_can_be_ended_by_run_monitoring(job: str) -> None:
    # Without the tag, a run whose process was killed counts as active for ever, and the sensor waits for it.
    assert 60 <= int(defs.resolve_job_def(job).tags["dagster/max_runtime"]) <= 7_200


def test_windows_are_bounded() -> None:
    keys = WINDOWS.get_partition_keys()
    assert 10_000 < len(keys) < 25_000
    # The history starts with a setting, so the count grows; a year before the bound is reached, someone should know.
    assert len(keys) < 25_000 - 9 * 4 * 261 / 2


def test_open_window_is_a_partition_and_no_later_one() -> None:
    now = datetime.now(UTC)
    window = SETTINGS.calendar.window_at(now)
    assert WINDOWS.has_partition_key(window.key)
    after = SETTINGS.calendar.window_at(window.end)
    assert not WINDOWS.has_partition_key(SETTINGS.calendar.window_at(after.end).key)


def test_windows_are_the_calendars_windows() -> None:
    keys = WINDOWS.get_partition_keys()
    calendar = SETTINGS.calendar
    days = sorted({date.fromisoformat(key[:10]) for key in keys})[:-1]
    assert [w.key for day in days for w in calendar.windows_of(day)] == [
        k for k in keys if k[:10] <= days[-1].isoformat()
    ]


def test_holidays_and_weekends_are_no_trading_days() -> None:
    closed = ["2025-01-09", "2025-07-04", "2025-11-27", "2025-12-25", "2026-01-01", "2026-04-03", "2025-03-08"]
    traded = ["2025-01-02", "2025-11-28", "2025-12-24", "2026-03-09"]  # half days too
    assert [day for day in closed if TRADING_DAYS.has_partition_key(day)] == []
    assert [day for day in traded if not TRADING_DAYS.has_partition_key(day)] == []
    for key in TRADING_DAYS.get_partition_keys():
        assert SETTINGS.calendar.is_trading_day(date.fromisoformat(key)), key


def test_latest_closed_day_can_be_closed_in_its_own_evening() -> None:
    assert TRADING_DAYS.has_partition_key(SETTINGS.calendar.latest_closed_day(datetime.now(UTC)).isoformat())
    evening = datetime(2026, 3, 9, 22, 0, tzinfo=UTC)
    assert TRADING_DAYS.get_partition_keys(current_time=evening)[-1] == "2026-03-09"
