"""The Dagster instance of a home folder, made by whichever processes come first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from usage_analytics import cli
from usage_analytics_tests.integration.platform_under_test import clean_environment

# Four processes that have their imports behind them, so that they are at the same point at the same time.
AT_ONCE = """
import os, sys
from pathlib import Path
from usage_analytics.orchestration.instance import dagster_home
for child in [pid for _ in range(4) if (pid := os.fork()) or dagster_home(Path(sys.argv[1])) and os._exit(0)]:
    if os.waitpid(child, 0)[1]: sys.exit(1)
"""


def test_first_processes_may_come_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clean_environment(monkeypatch, tmp_path)
    subprocess.run([sys.executable, "-c", AT_ONCE, str(tmp_path)], check=True)
    monkeypatch.setattr(sys, "argv", ["usage-analytics", "dagster-home"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == (f"{tmp_path}/dagster\n", "")
    monkeypatch.setenv("DAGSTER_HOME", f"{tmp_path}/dagster")
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 0
        assert instance.run_monitoring_enabled  # as dagster.yaml says
