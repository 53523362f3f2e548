"""The daemon is killed in the midst of a run and its database wiped: anew, it takes up where the lake stands."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from usage_analytics import parts
from usage_analytics.ingestion.broker_process import last_lines
from usage_analytics.orchestration.instance import dagster_home, open_instance
from usage_analytics.reconciliation.hop_counts import reconcile
from usage_analytics.settings import PREFIX
from usage_analytics_tests.integration.daemon_under_test import daemon_log, running_daemon
from usage_analytics_tests.integration.platform_under_test import Produced

pytestmark = [pytest.mark.faults, pytest.mark.slow]
DEADLINE_S = 150


def landed(produced: Produced) -> int:
    return sum(record.rows for record in parts.offset_log(produced.settings).all())


def all_loaded(produced: Produced) -> bool:
    settings = produced.settings
    if landed(produced) < len(produced.good) + len(produced.broken):
        return False
    return not reconcile(parts.offset_log(settings), parts.layout(settings), parts.warehouse(settings)).differences()


def wait_until(done: Callable[[], bool], produced: Produced, daemon: subprocess.Popen[bytes], every_s: float) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        if time.monotonic() > deadline or daemon.poll() is not None:
            pytest.fail(f"{landed(produced)} messages landed\n{last_lines(daemon_log(produced.settings.home), 40)}")
        time.sleep(every_s)


def test_daemon_killed_and_its_database_wiped(produced: Produced, monkeypatch: pytest.MonkeyPatch) -> None:
    home = produced.settings.home
    monkeypatch.setenv(PREFIX + "MICRO_BATCH_THRESHOLD", "2000")
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(home)))
    produced.send(4_000, broken_of_each_kind=5)
    with running_daemon(home) as daemon:
        wait_until(lambda: landed(produced) >= 900, produced, daemon, every_s=0.01)  # in the midst of its first run
    before = landed(produced)
    assert 900 <= before < 4_050, "the daemon was to be killed before it had landed all"
    shutil.rmtree(home / "dagster")

    produced.send(2_000, broken_of_each_kind=2)
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(home)))
    with running_daemon(home) as daemon:
        wait_until(lambda: all_loaded(produced), produced, daemon, every_s=0.5)
        produced.assert_came_through_once()
        with open_instance(home) as instance:
            assert instance.get_runs_count() >= 1
