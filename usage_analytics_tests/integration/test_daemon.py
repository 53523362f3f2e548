"""The daemon and the command line as users run them: the rows reach the warehouse without a call from here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from usage_analytics import parts
from usage_analytics.ingestion.broker_process import last_lines
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.orchestration.instance import dagster_home, open_instance
from usage_analytics_tests.integration.daemon_under_test import daemon_log, running_daemon
from usage_analytics_tests.integration.platform_under_test import Produced, embedded_platform

DEADLINE_S = 150
THRESHOLD = 2_000


@pytest.fixture
def produced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Produced]:
    with embedded_platform(monkeypatch, tmp_path, MICRO_BATCH_THRESHOLD=THRESHOLD) as started:
        monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path)))
        yield started


@pytest.fixture
def daemon(produced: Produced) -> Iterator[subprocess.Popen[bytes]]:
    with running_daemon(produced.settings.home) as process:
        yield process


def await_runs(
    produced: Produced, instance: dg.DagsterInstance, waiting: int, daemon: subprocess.Popen[bytes]
) -> list[dg.DagsterRun]:
    """Until so many messages are landed and no run is active; the runs, newest first."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        runs = instance.get_runs(dg.RunsFilter(job_name="micro_batch"))
        landed = sum(record.rows for record in parts.offset_log(produced.settings).all())
        if landed == waiting and all(run.is_finished for run in runs):
            return list(runs)
        if time.monotonic() > deadline or daemon.poll() is not None:
            pytest.fail(f"{landed} of {waiting} messages, {runs}\n{last_lines(daemon_log(produced.settings.home), 40)}")
        time.sleep(0.5)


def test_sensor_starts_runs_by_itself(produced: Produced, daemon: subprocess.Popen[bytes]) -> None:
    produced.send(3_000, broken_of_each_kind=2)
    with open_instance(produced.settings.home) as instance:
        await_runs(produced, instance, 3_020, daemon)
        produced.assert_came_through_once()
        produced.send(THRESHOLD, broken_of_each_kind=1)
        runs = await_runs(produced, instance, 5_030, daemon)
        produced.assert_came_through_once()
        # By the sensor at least once; at a window's start the schedule may have been first.
        assert any("dagster/sensor_name" in run.tags for run in runs)
        assert all(run.status is dg.DagsterRunStatus.SUCCESS for run in runs)
        windows = {run.tags["dagster/partition"] for run in runs}
        assert windows == {record.window for record in parts.offset_log(produced.settings).all()} | windows
        for asset in ("raw_messages", "usage_events", "loaded_events"):
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == windows


def test_assets_by_the_command_line(produced: Produced, tmp_path: Path) -> None:
    EmbeddedBroker.running(produced.settings.broker_directory).stop()  # type: ignore[union-attr]
    command_line = [sys.executable, "-m", "usage_analytics.cli"]
    subprocess.run([*command_line, "broker", "start"], check=True)
    try:
        produced.send(1_500, broken_of_each_kind=1)
        window = subprocess.run([*command_line, "window"], capture_output=True, text=True, check=True).stdout.strip()
        materialize = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "usage_analytics.definitions"]
        chosen = ["--select", "raw_messages,usage_events,loaded_events", "--partition", window]
        done = subprocess.run([*materialize, *chosen], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        produced.assert_came_through_once()
    finally:
        subprocess.run([*command_line, "broker", "stop"], check=True)
