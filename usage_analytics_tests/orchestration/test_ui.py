"""`usage-analytics ui` as people run it: what it refuses, and that none of Dagster's processes outlives it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from usage_analytics.ingestion.broker_process import free_port
from usage_analytics.settings import PREFIX
from usage_analytics_tests.integration.platform_under_test import clean_environment

UI = [sys.executable, "-m", "usage_analytics.cli", "ui"]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path / "other")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def ui(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [*UI, "--home", str(tmp_path), "--port", str(port)]
    with (tmp_path / "ui.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield process
    process.kill()
    process.wait()
    for left in processes_of(tmp_path):
        left.kill()


def processes_of(home: Path) -> list[psutil.Process]:
    """Those that were started for the home folder, whoever their parents are."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(PREFIX + "HOME") == str(home):
                found.append(process)
    return found


def wait_until(met: Callable[[], bool], home: Path) -> None:
    deadline = time.monotonic() + 90
    while not met():
        if time.monotonic() > deadline:
            pytest.fail(f"{processes_of(home)}\n" + (home / "ui.log").read_text()[-3000:])
        time.sleep(0.1)


def answers(port: int) -> bool:
    with suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info").status == 200
    return False


def refusal(*arguments: str) -> str:
    done = subprocess.run([*UI, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr


@pytest.mark.slow
def test_it_serves_alone_and_ends_in_good_order(tmp_path: Path, port: int, ui: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: answers(port), tmp_path)
    told = refusal("--home", str(tmp_path), "--port", str(free_port()))
    first = f"the Dagster UI on http://127.0.0.1:{port} (process {ui.pid})"
    assert told == f"usage-analytics: {first} is at work in {tmp_path}\n"
    ui.send_signal(signal.SIGTERM)
    assert ui.wait(90) == 0
    wait_until(lambda: processes_of(tmp_path) == [], tmp_path)  # Dagster does not await its code server
    assert "Traceback" not in (tmp_path / "ui.log").read_text()


def test_nothing_outlives_it_when_killed(tmp_path: Path, ui: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: len(processes_of(tmp_path)) >= 2, tmp_path)
    ui.kill()
    wait_until(lambda: processes_of(tmp_path) == [], tmp_path)


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refusal("--home", str(tmp_path), "--port", str(port))
    assert f"port {port} on 127.0.0.1 is taken" in told
    other = re.search(r"such as --port (\d+), or make ui PORT=\1$", told)
    assert other is not None and int(other[1]) != port
    root = Path(__file__).parents[2]
    told_by_make = subprocess.run(["make", "-n", "ui", f"PORT={other[1]}"], cwd=root, capture_output=True, text=True)
    assert f"--port {other[1]}" in told_by_make.stdout


def test_a_home_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    home = tmp_path / "misspelt"
    assert f"--home {home} is not a folder" in refusal("--home", str(home))
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9", "USAGE_ANALYTICS_PSEUDONYM_KEY is not set; user identifiers are"),
        ("USAGE_ANALYTICS_MAPPING", "mine.toml", "mapping 'mine.toml'"),
    ],
)
def test_what_could_not_be_enriched_is_not_begun_with(
    name: str, value: str, told: str, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert f"usage-analytics: {told}" in refusal("--home", str(tmp_path), "--port", str(port))
