"""Starts and talks to the program that runs the micro_batch job in processes which end by SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from usage_analytics.settings import PREFIX


class KilledRuns:
    """The program that runs and kills; see `killed_micro_batches`."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("killed_micro_batches.py"))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, **pipes, text=True, start_new_session=True)
        assert self._answer() == "ready"

    def run(self, window: str, point: str | None = None, after_s: float | None = None) -> int:
        """How a run ended that was killed at a point, after some time, or not at all: 0, or minus the signal."""
        self.begin(window, point, after_s)
        return self.end()

    def begin(
        self, window: str, point: str | None = None, after_s: float | None = None, meeting: Path | None = None
    ) -> None:
        """Start a run, to be awaited by `end`; ``meeting``: a folder by which two runs come to their first record."""
        environment = {n: v for n, v in os.environ.items() if n.startswith((PREFIX, "KAFKA_"))}
        request = {"window": window, "environment": environment, "point": point, "after_s": after_s}
        request |= {"meeting": str(meeting)} if meeting else {}
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def end(self) -> int:
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the program that kills runs has ended"
        return str(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # a run that hangs would keep the pipe open
        self._process.communicate()
