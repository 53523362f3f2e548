"""`usage-analytics plans` and `serve`: what there is, a rollback, and what they say where something is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import KEY
from typer.testing import CliRunner

from usage_analytics import cli
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.settings import PREFIX
from usage_analytics_tests.integration.platform_under_test import clean_environment
from usage_analytics_tests.serving.made_up_plans import IBM, MadeUp

PLAN = MadeUp(
    entries={(): {"news": 0.5}},
    saved_ms={"news": 400.0},
    classes=[{"news": 4.0}],
    users={pseudonym(KEY, "joe"): 1},
    entities={IBM: {"news": (2.0, 0.0)}},
)


@pytest.fixture
def folder(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanFolder:
    clean_environment(monkeypatch, memory_path)
    return PlanFolder(memory_path / "preload_plans")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return " ".join(done.output.split())


def test_plans_are_listed_and_one_is_chosen(folder: PlanFolder) -> None:
    assert "There is no preload plan in" in run("plans")
    first = folder.publish(PLAN.tables()).name
    second = folder.publish(replace(PLAN, saved_ms={"news": 500.0}).tables()).name
    told = f"{second} │ now │ 2026-11-23 23:05:00 │ 5 │ 1 │ 1 │ 1 │ 1 │ gru, by the contest of"
    assert told in run("plans")
    assert run("plans", "use", first) == f"{first} answers from now on"
    assert f"{first} │ now │" in run("plans")
    with pytest.raises(UserError, match="there is no plan 'none'"):
        run("plans", "use", "none")


def test_a_damaged_plan_is_listed_as_such(folder: PlanFolder) -> None:
    name = folder.publish(PLAN.tables()).name
    path = folder.path / f"{name}.plan"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])
    told = run("plans")
    assert f"{name} │ now │ damaged" in told
    assert "is cut short, damaged or no preload plan" in told


def test_serve_without_its_extra_says_what_to_install(folder: PlanFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usage_analytics.serving.http", None)
    with pytest.raises(UserError, match=r"'serve' needs .*: pip install 'usage_analytics\[serving\]'"):
        run("serve")


def test_a_port_that_is_taken_is_told_at_once(folder: PlanFolder) -> None:
    pytest.importorskip("uvicorn", reason="the [serving] extra is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"nobody can listen at 127\.0\.0\.1:{port} \(.*\): choose another --port"):
            run("serve", "--port", str(port))


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("ü" * 100, "--host 'ü+' cannot be the name of a machine: choose another one"),
        ("\udcff", r"--host '\\udcff' cannot be the name of a machine: choose another one"),
        ("203.0.113.7", r"nobody can listen at 203\.0\.113\.7:8700 \(.*\): choose another --host"),
        ("no.such.host.invalid", r"nobody can listen at no\.such\.host\.invalid:8700 \(.*\): choose another --host"),
    ],
    ids=["too long", "undecodable", "of another machine", "unknown"],
)
def test_a_host_that_is_none_of_this_machines_is_told(folder: PlanFolder, host: str, told: str) -> None:
    pytest.importorskip("uvicorn", reason="the [serving] extra is not installed")
    with pytest.raises(UserError, match=told):
        run("serve", "--host", host)


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextmanager
def served(home: Path, host: str = "127.0.0.1", **settings: str) -> Iterator[str]:
    """A process that serves the plans of a home folder; its address."""
    with socket.create_server((host, 0), family=family_of(host)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, PREFIX + "HOME": str(home), **settings}
    command = [sys.executable, "-m", "usage_analytics.cli", "serve", "--host", host, "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        address = f"http://{host if family_of(host) == socket.AF_INET else f'[{host}]'}:{port}"
        assert told.startswith(f"{address}/ (")
        for _ in range(300):
            with socket.socket(family_of(host)) as tried:
                if tried.connect_ex((host, port)) == 0:
                    break
            time.sleep(0.1)
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


def test_a_process_serves_by_identifier_where_it_has_the_key(folder: PlanFolder, memory_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the [serving] extra is not installed")
    name = folder.publish(PLAN.tables()).name
    with served(memory_path, USAGE_ANALYTICS_PSEUDONYM_KEY=KEY.decode()) as address:
        with urllib.request.urlopen(f"{address}/next?user=joe&context=quotes&entity=IBM") as response:
            told = json.load(response)
        assert (told["plan"], told["known_user"], told["known_entity"]) == (name, True, True)
        told_of = [(item["mini_app"], item["user_factor"], item["entity_factor"]) for item in told["items"]]
        assert told_of == [("news", 4.0, 2.0)]


def test_a_process_serves_at_an_address_of_ip_version_6(folder: PlanFolder, memory_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the [serving] extra is not installed")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    folder.publish(PLAN.tables())
    with served(memory_path, "::1") as address, urllib.request.urlopen(f"{address}/health") as response:
        assert json.load(response)["plan"] == folder.current_name()
