"""Ctrl-C while messages land: the process ends in order, and the next run lands the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from usage_analytics import parts
from usage_analytics_tests.integration.platform_under_test import (
    embedded_platform,
    messages_landed,
    micro_batch,
    open_window,
)

LAND = """
import sys
from datetime import UTC, datetime
from usage_analytics import parts
from usage_analytics.micro_batch import land_window
from usage_analytics.settings import load_settings
settings = load_settings()
now = datetime.now(UTC)
print("landing", flush=True)
while True:
    land_window(settings, settings.calendar.window_from_key(sys.argv[1]), now)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_an_interruption_ends_the_threads_first(
    after_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"CHUNK_MESSAGES": 200, "BATCH_MESSAGES": 20, "PARALLEL": 3, "MAX_MESSAGES_PER_RUN": 1_000}
    with embedded_platform(monkeypatch, tmp_path, **limits) as produced:
        window = open_window(produced.settings)
        produced.send(5_000, broken_of_each_kind=3)
        command = [sys.executable, "-c", LAND, window]
        landing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert landing.stdout is not None and landing.stdout.readline() == "landing\n"
        time.sleep(after_s)
        deadline = time.monotonic() + 60
        while landing.poll() is None:  # one may come while a destructor runs, where Python passes over it
            assert time.monotonic() < deadline
            landing.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                landing.wait(timeout=2)
        _, told = landing.communicate()
        assert landing.returncode == -signal.SIGINT, told  # Python's own end by Ctrl-C, not an abort in a library
        assert told.rstrip().endswith("KeyboardInterrupt")

        monkeypatch.setenv("USAGE_ANALYTICS_MAX_MESSAGES_PER_RUN", "1000000")
        landed = sum(record.rows for record in parts.offset_log(produced.settings).all())
        healed = micro_batch(produced.settings, window)
        assert landed + messages_landed(healed) == len(produced.good) + len(produced.broken)
        produced.assert_came_through_once()
