"""The local Dagster instance: its home folder, its UI."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg

import usage_analytics
from usage_analytics.errors import UserError

PROJECT = Path(usage_analytics.__file__).parents[1]


def dagster_home(home: Path) -> Path:
    """The folder of the Dagster instance that belongs to a home folder, with the project's dagster.yaml in it."""
    source = PROJECT / "dagster.yaml"
    if not source.exists():
        raise UserError(f"{source} is missing: run from a checkout, or set DAGSTER_HOME and use dagster dev")
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, folder / "dagster.yaml")
    return folder


def open_instance(home: Path) -> dg.DagsterInstance:
    """The Dagster instance of a home folder."""
    return dg.DagsterInstance.from_config(str(dagster_home(home)))


def create_tables(home: Path) -> None:
    """Make the instance's databases; where two processes are the first to do so at once, Dagster fails in one."""
    with open_instance(home) as instance:
        instance.get_runs_count()
        instance.get_materialized_partitions(dg.AssetKey("raw_messages"))
        instance.all_instigator_state()


def serve_ui(home: Path, port: int) -> None:
    """Run the Dagster UI and daemon on a home folder until interrupted."""
    create_tables(home)
    environment = {**os.environ, "DAGSTER_HOME": str(dagster_home(home)), "USAGE_ANALYTICS_HOME": str(home)}
    command = [sys.executable, "-m", "dagster", "dev", "-m", "usage_analytics.definitions"]
    print(f"Dagster UI on http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    process = subprocess.Popen([*command, "-h", "127.0.0.1", "-p", str(port)], env=environment)
    try:
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
