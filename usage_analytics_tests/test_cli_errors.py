"""Mistakes outside the code: exit code 2, one sentence on standard error, no stack trace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from usage_analytics import cli
from usage_analytics.ingestion import topics
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.settings import PREFIX
from usage_analytics_tests.integration.platform_under_test import clean_environment
from usage_analytics_tests.serving.made_up_plans import MadeUp

NDJSON = b'{"user":"mary"}\n'


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine, an own home, short patience."""
    clean_environment(monkeypatch, tmp_path / "home", KAFKA_TIMEOUT_S=1)
    monkeypatch.setattr(topics, "METADATA_TIMEOUT_S", 1.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.ndjson").write_bytes(NDJSON)


def refusal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command line says, in this process, when it refuses."""
    monkeypatch.setattr(sys, "argv", ["usage-analytics", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    shown = capfd.readouterr()
    assert stop.value.code == 2
    assert shown.err.startswith("usage-analytics: ")
    assert shown.err.count("\n") == 1, shown.err
    assert shown.err.endswith("\n")
    assert "Traceback" not in shown.out + shown.err
    return shown.err


@pytest.mark.parametrize(
    ("name", "value", "thing"),
    [
        ("CHUNK_MESSAGES", "many", "whole number from 1 on, found 'many'"),
        ("KAFKA_TIMEOUT_S", "0", "whole number from 1 on, found '0'"),
        ("HISTORY_START", "once", "found 'once'"),
        ("HISTORY_START", "9999-12-31", "is a day from 2010-01-01 until today, found '9999-12-31'"),
        ("COLOUR", "red", "is not a setting"),
        ("WINDOW_MINUTES", "7", "7 window minutes do not divide an hour"),
        ("CLOSING_HOUR", "4", "hours 8 to 4"),
        ("EXCHANGE", "XMARS", "exchange 'XMARS'"),
        ("TIMEZONE", "Mars/Base", "time zone 'Mars/Base'"),
    ],
)
def test_bad_setting(
    name: str, value: str, thing: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    assert thing in refusal(capfd, monkeypatch, "window")


def test_home_that_is_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "events.ndjson"
    monkeypatch.setenv(PREFIX + "HOME", str(home))
    assert f"{home}" in refusal(capfd, monkeypatch, "broker", "start")


BAD_MAPPINGS = {
    "toml.toml": ("name = ", "not valid TOML"),
    "kind.toml": ('name = "x"\nversion = 1\n[fields]\nevent_id = "id"\n', "'id' is not a JSON pointer"),
    "empty.toml": ("", "name is missing"),
}


@pytest.mark.parametrize("name", BAD_MAPPINGS)
def test_bad_mapping(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, thing = BAD_MAPPINGS[name]
    (tmp_path / name).write_text(text)
    sentence = refusal(capfd, monkeypatch, "produce", "events.ndjson", "--mapping", name)
    assert f"mapping {name}" in sentence
    assert thing in sentence


@pytest.mark.parametrize(
    ("arguments", "thing"),
    [
        (("produce", "nowhere.ndjson", "--mapping", "usage_event"), "nowhere.ndjson is not a file"),
        (("produce", ".", "--mapping", "usage_event"), ". is not a file"),
        (("produce", "events.ndjson", "--mapping", "nowhere.toml"), "mapping 'nowhere.toml': no such file"),
        (("produce", "events.ndjson", "--mapping", "msnbc", "--trading-day", "x"), "--trading-day is a day such as"),
        (
            ("produce", "events.ndjson", "--mapping", "msnbc", "--trading-day", "2026-11-22"),
            "is no trading day of XNYS",
        ),
        (("produce", "events.ndjson", "--mapping", "usage_event"), "no Kafka: set KAFKA_BOOTSTRAP_SERVERS"),
        (("evaluate", "--split-property", "\udcff"), "--split-property is the name of a property, found '\\udcff'"),
        (("status",), "no Kafka: set KAFKA_BOOTSTRAP_SERVERS"),
        (("broker", "stop"), "no embedded broker runs for"),
    ],
)
def test_bad_arguments_and_no_broker(
    arguments: tuple[str, ...], thing: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert thing in refusal(capfd, monkeypatch, *arguments)


@pytest.mark.parametrize("arguments", [("status",), ("produce", "events.ndjson", "--mapping", "usage_event")])
def test_unreachable_broker(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert "Kafka at 127.0.0.1:1 did not answer" in refusal(capfd, monkeypatch, *arguments)


@pytest.mark.parametrize("arguments", [("status",), ("produce", "events.ndjson", "--mapping", "usage_event")])
def test_bad_kafka_setting(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("KAFKA_SOCKET_TIMEOUT_MS", "99999999999")
    sentence = refusal(capfd, monkeypatch, *arguments)
    assert sentence.startswith("usage-analytics: Kafka settings are not usable (KAFKA_SOCKET_TIMEOUT_MS): ")
    assert "outside allowed range" in sentence


@pytest.mark.parametrize(
    ("command", "port"), [("broker start", "99999"), ("broker start", "-1"), ("ui", "99999"), ("serve", "0")]
)
def test_a_port_that_cannot_be(
    command: str, port: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["usage-analytics", *command.split(), "--port", port])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "Invalid value for '--port'" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [("evaluate",), ("next", "mary"), ("status", "--all")])
def test_a_damaged_warehouse(
    arguments: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    PlanFolder(tmp_path / "home" / "preload_plans").publish(MadeUp().tables())
    path = tmp_path / "home" / "warehouse.duckdb"
    path.write_bytes(b"no database" * 1_000)
    assert f"warehouse {path} is damaged: move {path} away and" in refusal(capfd, monkeypatch, *arguments)


def test_a_process_of_its_own_ends_with_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "usage_analytics.cli", "window"]
    environment = {**os.environ, PREFIX + "WINDOW_MINUTES": "7"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "usage-analytics: trading clock: 7 window minutes do not divide an hour\n"


@pytest.mark.parametrize("arguments", [("ui", "--home"), ("demo", "--home")])
def test_a_home_whose_path_would_mean_another(
    arguments: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a%20b"
    home.mkdir()
    told = refusal(capfd, monkeypatch, *arguments, str(home))
    assert f"--home '{home}' has '%20' in it, which Dagster or DuckDB would take for another folder" in told


@pytest.mark.parametrize("window", ["2026-11-23T1000", "2030-01-02T0900"])
def test_a_window_in_which_nothing_landed_is_not_called_reconciled(
    window: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refusal(capfd, monkeypatch, "reconcile", "--window", window)
    assert f"nothing of topic usage-messages has landed in window {window}; 'usage-analytics status" in told


@pytest.mark.parametrize("most", ["0", "1000001", "100000000000000000000"])
def test_dead_letters_are_shown_up_to_a_number(most: str) -> None:
    done = CliRunner().invoke(cli.app, ["dead-letters", "show", "--most", most])
    assert done.exit_code == 2
    assert "Invalid value for '--most'" in done.output
