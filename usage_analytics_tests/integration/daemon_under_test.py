"""Dagster's daemon as a process of its own, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running_daemon(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon on the graph, in a process group of its own; killed at the end with its code server and runs."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "usage_analytics.definitions"]
    with daemon_log(home).open("wb") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        # All are of one group; started from a script, they may ignore gentler signals.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def daemon_log(home: Path) -> Path:
    return home / "daemon.log"
