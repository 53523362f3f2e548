"""The local Dagster instance of a home folder."""

import shutil
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

import usage_analytics
from usage_analytics.errors import UserError
from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.locks import one_at_a_time

PROJECT = Path(usage_analytics.__file__).parents[1]


def dagster_home(home: Path) -> Path:
    """The folder of a home folder's Dagster instance, with the project's dagster.yaml and all tables in it.

    Where two processes are the first to use an instance at once, Dagster's own set-up breaks it for good.
    """
    source = PROJECT / "dagster.yaml"
    if not source.exists():
        raise UserError(f"{source} is missing: run from a checkout, or set DAGSTER_HOME and use dagster dev")
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder / "prepare.lock"):
        _copy(source, folder / "dagster.yaml")
        _create_tables(folder)
    return folder


def open_instance(home: Path) -> dg.DagsterInstance:
    """The Dagster instance of a home folder, for runs in this process: what they print is not captured."""
    # Capturing starts two processes for each run, which answer Ctrl-C with traces of their own.
    uncaptured = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    reference = InstanceRef.from_dir(str(dagster_home(home)), overrides={"compute_logs": uncaptured})
    return dg.DagsterInstance.from_ref(reference)


def _copy(source: Path, target: Path) -> None:
    # A process that starts meanwhile must not read half of it.
    temporary = temporary_beside(target)
    shutil.copyfile(source, temporary)
    publish(temporary, target)


def _create_tables(folder: Path) -> None:
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.get_runs_count()
        instance.get_materialized_partitions(dg.AssetKey("raw_messages"))
        instance.all_instigator_state()
