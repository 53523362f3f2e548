"""`usage-analytics dead-letters`: what is told of them; judging again gives what a first run would have given."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.enrichment.dead_letters import REASONS, letters_by_window
from usage_analytics.errors import UserError
from usage_analytics.reporting.dead_letters import printable
from usage_analytics.settings import PREFIX, Settings, load_settings
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    embedded_platform,
    micro_batch,
    open_window,
)

STRICT = """
name = "mine"
version = {version}
[fields]
event_id = "/event_id"
event_time = "/event_time"
user = "/user"
mini_app = "/mini_app"
latency_ms = {{ pointer = "{latency}", kind = "number", required = true }}
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(STRICT.format(version=1, latency="/timing/latency_ms"), encoding="utf-8")
    return path


@pytest.fixture
def produced(tmp_path: Path, mapping: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Produced]:
    with embedded_platform(monkeypatch, tmp_path / "home", MAPPING=mapping, CHUNK_MESSAGES=100) as started:
        yield started


def told(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, ["dead-letters", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return " ".join(done.stdout.split())


def events(settings: Settings) -> pl.DataFrame:
    return parts.warehouse(settings).read("SELECT * EXCLUDE load_window FROM usage_events ORDER BY ALL")


def test_replay_gives_what_a_clean_run_would_have_given(
    produced: Produced, mapping: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_window(produced.settings)
    produced.send(400, broken_of_each_kind=2)
    produced.send_again(50)
    assert micro_batch(produced.settings, window).success
    assert events(produced.settings).is_empty(), "under the wrong mapping all are dead letters"
    assert "latency_ms is missing: nothing at /timing/latency_ms" in told("list")

    mapping.write_text(STRICT.format(version=2, latency="/latency_ms"), encoding="utf-8")
    corrected = load_settings()
    assert f"{window} │ 470 │ 20 │ 450" in told("replay")
    replayed = events(corrected)
    assert replayed.height == 450 and replayed.select("kafka_partition", "kafka_offset").is_unique().all()
    assert "nothing would change" in told("replay")

    monkeypatch.setenv(PREFIX + "HOME", str(tmp_path / "clean"))
    shutil.copytree(produced.settings.broker_directory, tmp_path / "clean" / "broker")
    clean = load_settings()
    shutil.copy(produced.settings.home / "development_pseudonym_key", clean.home)
    assert micro_batch(clean, window).success
    assert events(clean).equals(replayed)


def test_each_dead_letter_can_be_shown(produced: Produced) -> None:
    produced.send(20, broken_of_each_kind=1)
    micro_batch(produced.settings, open_window(produced.settings))
    shown = told("show", "--reason", "not_json")
    assert (
        "reason not_json: the message is not JSON (Expecting property name enclosed in double quotes at byte 1)"
        in shown
    )
    assert "message {not json" in shown and "key broken-0-2" in shown
    place = shown.split("Kafka partition ")[1].split(",")[0], shown.split("offset ")[1].split(" ")[0]
    assert "the message is not JSON" in told("show", "--at", ":".join(place))
    assert told("show", "--reason", "no_trading_day").startswith("no such dead letters of topic usage-messages")
    found = letters_by_window(parts.layout(produced.settings), parts.offset_log(produced.settings))
    assert {reason for each in found for chunk in each.chunks for reason in chunk.reasons} <= set(REASONS)
    assert told("show", "--most", "1").count("reason ") == 1


def test_it_is_said_that_messages_are_quoted() -> None:
    for command in ("list", "show"):
        assert "personal data" in told(command, "--help"), command


def test_a_home_without_dead_letters_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "HOME", str(tmp_path))
    assert told("list") == "no dead letters of topic usage-messages"
    assert told("show") == "no such dead letters of topic usage-messages"
    assert told("replay").startswith("all dead letters of topic usage-messages were judged under")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["list", "--window", "noon"], "window 'noon': expected a local start such as"),
        (["show", "--at", "3"], "--at is a Kafka partition and an offset, such as 3:120045, found '3'"),
        (["show", "--at", "3:x"], "found '3:x'"),
        (["show", "--reason", "banana"], "--reason is one of empty_message, not_utf8, .*, found 'banana'"),
    ],
)
def test_bad_options_are_told(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "HOME", str(tmp_path))
    with pytest.raises(UserError, match=sentence):
        CliRunner().invoke(cli.app, ["dead-letters", *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "-"),
        (b"", ""),
        (json.dumps({"user": "zoë"}, ensure_ascii=False).encode(), '{"user": "zoë"}'),
        (b"\x1b[2J\xff\n", r"\x1b[2J\xff\n"),
        (b"a" * 2_500, "a" * 2_000 + " … and 500 bytes more"),
    ],
)
def test_what_is_printed_does_a_terminal_no_harm(content: Any, text: str) -> None:
    assert printable(content) == text
