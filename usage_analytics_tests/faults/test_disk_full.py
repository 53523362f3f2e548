"""A disk that is really full, at whichever step it fills up: a sentence, no files left, and the next run heals."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from usage_analytics import parts
from usage_analytics.definitions import defs
from usage_analytics.micro_batch import land_window
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import QUIET
from usage_analytics_tests.faults.brokers import Platform
from usage_analytics_tests.faults.conftest import platform_on
from usage_analytics_tests.integration.platform_under_test import micro_batch, open_window

pytestmark = [pytest.mark.faults, pytest.mark.slow]
DISK_BYTES = 24 * 2**20
# How much room a run finds: none at all, up to what all its files but the last take.
ROOM_KB = [0, 12, 80, 200, 320, 450, 600, 800, 1_000, 1_300, 1_600, 2_000]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; Dagster's and the broker's files lie elsewhere."""
    disk = tmp_path / "home"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    for name in ("dagster", "broker"):
        (tmp_path / name).mkdir()
        (disk / name).symlink_to(tmp_path / name)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.apache_kafka)])
def on_small_disk(
    request: pytest.FixtureRequest, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    with platform_on(request, monkeypatch, small_disk) as started:
        yield started


@contextmanager
def only_left(disk: Path, kilobytes: int) -> Iterator[None]:
    """All but so much of a disk is taken."""
    filler = disk / "filler"
    free = os.statvfs(disk)
    taken = max(0, free.f_bavail * free.f_frsize - kilobytes * 1_024)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, taken))
    try:
        yield
    finally:
        filler.unlink()


def test_a_full_disk_is_told_and_healed_whenever_it_fills_up(on_small_disk: Platform, small_disk: Path) -> None:
    produced, settings = on_small_disk.produced, on_small_disk.produced.settings
    window = open_window(settings)
    failed_at = set()
    for kilobytes in ROOM_KB:
        produced.send(2_000, broken_of_each_kind=3)
        with only_left(small_disk, kilobytes):
            step, told = failure_of(on_small_disk, window)
        if step:
            warehouse = (f"warehouse {settings.warehouse} cannot be used: ", f"{settings.warehouse}.fresh/load_window=")
            assert told.startswith(warehouse if step == "loaded_events" else f"{small_disk}/"), told
            assert "No space left on device" in told, (kilobytes, told)
            failed_at.add(step)
        leftovers = [path for path in small_disk.rglob("*") if path.name.endswith(".inprogress")]
        assert leftovers == []
    assert failed_at >= {"raw_messages", "loaded_events"}, failed_at
    assert micro_batch(settings, window).success
    produced.assert_came_through_once()


def failure_of(platform: Platform, window: str) -> tuple[str, str]:
    """The step at which a run failed, and its sentence; both empty where it did not."""
    with open_instance(platform.produced.settings.home) as instance:
        result = defs.resolve_job_def("micro_batch").execute_in_process(
            instance=instance, partition_key=window, run_config=QUIET, raise_on_error=False
        )
    failed = [event for event in result.all_events if event.is_step_failure]
    if not failed:
        return "", ""
    told = failed[0].step_failure_data.user_failure_data
    return str(failed[0].step_key), str(told and told.description)


def test_a_disk_that_takes_no_more_of_a_file(platform: Platform) -> None:
    """The same by a limit on the size of files, which any machine permits."""
    produced, settings = platform.produced, platform.produced.settings
    now = datetime.now(UTC)
    window = settings.calendar.window_at(now)
    produced.send(3_000, broken_of_each_kind=5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(OSError, match=f"File too large: '{settings.lake}/raw/"):
            land_window(settings, window, now)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(parts.offset_log(settings).all()) == []
    assert list(parts.layout(settings).raw_window(window.key).iterdir()) == []
    assert micro_batch(settings, window.key).success
    produced.assert_came_through_once()
