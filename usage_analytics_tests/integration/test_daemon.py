"""The daemon and the command line as users run them: the rows reach the warehouse without a call from here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import dagster as dg
import duckdb
import pytest

from usage_analytics import parts
from usage_analytics.ingestion.broker_process import last_lines
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.orchestration.instance import dagster_home, open_instance
from usage_analytics.orchestration.shares import SHARE_TAG
from usage_analytics_tests.integration.daemon_under_test import daemon_log, running_daemon
from usage_analytics_tests.integration.platform_under_test import Produced, embedded_platform

DEADLINE_S = 150
THRESHOLD = 2_000
Found = TypeVar("Found")


@pytest.fixture
def produced(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Produced]:
    """A platform of one share, or as many as the test names."""
    shares = getattr(request, "param", 1)
    with embedded_platform(monkeypatch, tmp_path, MICRO_BATCH_THRESHOLD=THRESHOLD, SHARES=shares) as started:
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

    def all_finished() -> list[dg.DagsterRun]:
        runs = micro_batches(instance)
        return runs if landed(produced) == waiting and all(run.is_finished for run in runs) else []

    return awaited(all_finished, produced, instance, daemon)


def awaited(
    found: Callable[[], Found], produced: Produced, instance: dg.DagsterInstance, daemon: subprocess.Popen[bytes]
) -> Found:
    """What there is, once there is something."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := found()):
        if time.monotonic() > deadline or daemon.poll() is not None:
            told = last_lines(daemon_log(produced.settings.home), 40)
            pytest.fail(f"{landed(produced)} messages landed, {micro_batches(instance)}\n{told}")
        time.sleep(0.2)
    return value


def micro_batches(instance: dg.DagsterInstance, share: str | None = None) -> list[dg.DagsterRun]:
    """The runs of all shares or of one, newest first."""
    tags = {} if share is None else {SHARE_TAG: share}
    return list(instance.get_runs(dg.RunsFilter(job_name="micro_batch", tags=tags)))


def landed(produced: Produced) -> int:
    return sum(record.rows for record in parts.offset_log(produced.settings).all())


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


@contextmanager
def held(warehouse: Path) -> Iterator[None]:
    """Nobody else gets at the warehouse."""
    while True:
        try:
            connection = duckdb.connect(str(warehouse))
            break
        except duckdb.IOException:  # the sensor is looking something up
            time.sleep(0.02)
    with connection:
        yield


def process_of(run: dg.DagsterRun, instance: dg.DagsterInstance) -> int | None:
    told = (
        re.search(r"Started process for run \(pid: (\d+)\)", entry.message) for entry in instance.all_logs(run.run_id)
    )
    return next((int(found[1]) for found in told if found), None)


def spans(instance: dg.DagsterInstance, share: str) -> list[tuple[float, float]]:
    """When the runs of a share began and ended, in order."""
    records = instance.get_run_records(dg.RunsFilter(job_name="micro_batch", tags={SHARE_TAG: share}))
    return sorted((r.start_time, r.end_time) for r in records if r.start_time and r.end_time)


@pytest.mark.parametrize("produced", [2], indirect=True)
def test_shares_run_side_by_side_and_one_that_is_killed_is_made_good(
    produced: Produced, daemon: subprocess.Popen[bytes]
) -> None:
    queued, started, success = (dg.DagsterRunStatus[name] for name in ("QUEUED", "STARTED", "SUCCESS"))
    shares = ("0/2", "1/2")
    produced.send(9_000, broken_of_each_kind=1)
    with open_instance(produced.settings.home) as instance:

        def status(run: dg.DagsterRun) -> dg.DagsterRunStatus:
            return instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))[0].dagster_run.status

        def until(condition: Callable[[], bool]) -> None:
            awaited(condition, produced, instance, daemon)

        def active(share: str) -> list[dg.DagsterRun]:
            return [run for run in reversed(micro_batches(instance, share)) if not run.is_finished]

        until(lambda: all(map(active, shares)))
        with held(produced.settings.warehouse):
            even, odd = (active(share)[0] for share in shares)
            again = even.with_status(queued)._replace(run_id=str(uuid.uuid4()))
            instance.add_run(again)
            # Both land and enrich, then stand before the warehouse; another run of the same share stays in the queue.
            until(lambda: landed(produced) == 9_010)
            assert (status(even), status(odd)) == (started, started)
            process = process_of(odd, instance)
            assert process is not None
            os.kill(process, signal.SIGKILL)
            until(lambda: status(odd) is dg.DagsterRunStatus.FAILURE)
            assert status(again) is queued
        until(lambda: all(any(run.status is success for run in micro_batches(instance, share)) for share in shares))
        runs = await_runs(produced, instance, 9_010, daemon)
        produced.assert_came_through_once()
        assert [run.run_id for run in runs if run.status is not success] == [odd.run_id]
        assert any(run.parent_run_id == odd.run_id and run.run_config == odd.run_config for run in runs)
        for share in shares:
            assert len(spans(instance, share)) >= 2
            assert all(end <= start for (_, end), (start, _) in pairwise(spans(instance, share)))


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
