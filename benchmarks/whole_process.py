"""Runs a program as a process of its own and says what it cost as a whole, its start and all its threads included."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """CPU and wall seconds, peak memory in MB, and what the program said in its last line."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    said: dict[str, int | None]


def cost_of(command: Sequence[str]) -> Cost:
    """Run a program whose last line of output is a JSON object; `SystemExit` with its output where it fails.

    Processes that it started and waited for are counted with it.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        lines = output.read().splitlines()
        if process.returncode or not lines:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-4000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024, json.loads(lines[-1]))


def apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function of a module in a process of its own.

    Linux counts the memory that a process has as the peak of what it starts, too: who measures must stay small.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
