"""`usage-analytics status`: the last windows by default, all history only when asked for."""

import shutil
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from fakes import FakeKafka, message
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.micro_batch import land_window
from usage_analytics.settings import Settings, load_settings
from usage_analytics.trading_calendar import Window
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    clean_environment,
    embedded_platform,
    open_window,
)
from usage_analytics_tests.integration.platform_under_test import micro_batch as run_micro_batch


def micro_batch(produced: Produced, window: Window) -> None:
    """What the job does, without Dagster, as if the window were open."""
    settings = produced.settings
    land_window(settings, window, window.start)
    load(settings, window)


def load(settings: Settings, window: Window) -> None:
    chunks = parts.enriched_reader(settings).chunks(parts.offset_log(settings).of_window(window.key))
    parts.warehouse(settings).load_window(settings.topic, window.key, chunks)


def status(*options: str) -> tuple[str, int]:
    """What is printed, and the exit code."""
    done = CliRunner().invoke(cli.app, ["status", *options], catch_exceptions=False)
    return done.stdout, done.exit_code


def ledger(*options: str) -> list[list[str]]:
    """The rows of the table of hops, without its borders."""
    return hops_in(status(*options)[0])


def hops_in(shown: str) -> list[list[str]]:
    """The rows of the ledger, less how soon each window could be queried, which differs from run to run."""
    return [row[:-1] for row in table("Ledger", shown)]


def table(title: str, shown: str) -> list[list[str]]:
    lines = shown[shown.index(title) :].split("┘")[0].splitlines()
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]


def test_status_reads_the_windows_it_shows_and_all_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_platform(monkeypatch, tmp_path) as produced:
        calendar = produced.settings.calendar
        older, newer = calendar.windows_of(calendar.latest_closed_day(datetime.now(UTC)))[:2]
        produced.send(1_200, broken_of_each_kind=1)
        micro_batch(produced, older)
        produced.send(500)
        micro_batch(produced, newer)
        shown = [[newer.key, "500", "500", "0", "500", "yes"], [older.key, "1,210", "1,200", "10", "1,200", "yes"]]
        now, code = status()
        assert (hops_in(now), code) == (shown, 0)
        assert ledger("--windows", "1", "--all") == [shown[0], ["all windows", "1,710", "1,700", "10", "1,700", "yes"]]
        for path in parts.layout(produced.settings).usage_events(older.key, "x").parent.iterdir():
            path.unlink()
        assert ledger("--windows", "1") == [shown[0]]
        assert ledger("--windows", "1", "--all")[1] == ["all windows", "1,710", "500", "0", "1,700", "NO"]

        shutil.rmtree(parts.layout(produced.settings).root)
        now, code = status("--all")
        assert hops_in(now) == [["all windows", "0", "0", "0", "1,700", "NO"]]
        told = " ".join(now.split())
        assert (
            f"the warehouse holds 1,700 rows that no record of the lake explains, loaded from window {older.key}, "
            f"{newer.key}: restore the lake; if Kafka gave the same offsets again, into another window, materialize "
            f"loaded_events of window {older.key}, {newer.key}, which takes them out"
        ) in told
        assert "the warehouse holds them, but the lake has lost their records; restore these from a copy" in told
        assert code == 1


def test_a_broker_that_was_restarted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_platform(monkeypatch, tmp_path) as produced:
        settings = produced.settings
        window = settings.calendar.windows_of(settings.calendar.latest_closed_day(datetime.now(UTC)))[0]
        produced.send(100)
        micro_batch(produced, window)
        restart(settings)
        done = CliRunner().invoke(cli.app, ["status"])
        assert f"topic {settings.topic!r} is not on Kafka" in str(done.exception)
        hops = [[window.key, "100", "100", "0", "100", "yes"]]
        assert hops_in(done.stdout) == hops
        produced.send(500)  # more than the lake has: offsets alone would not tell
        shown, code = status()
        assert [row[-1] for row in table("Topic", shown)] == ["-"] * 3
        sentence = f"Nothing can be landed: topic {settings.topic!r} is not the one the lake holds messages of"
        assert sentence in " ".join(shown.split())
        assert "give it its own USAGE_ANALYTICS_TOPIC or USAGE_ANALYTICS_HOME" in " ".join(shown.split())
        assert hops_in(shown) == hops
        assert code == 1


def restart(settings: Settings) -> None:
    running = EmbeddedBroker.running(settings.broker_directory)
    assert running is not None
    running.stop()
    EmbeddedBroker.start(settings.broker_directory)


def test_what_cannot_be_enriched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_platform(monkeypatch, tmp_path) as produced:
        window = open_window(produced.settings)
        produced.send(100)
        monkeypatch.setenv("USAGE_ANALYTICS_PSEUDONYM_KEY", "short")
        with pytest.raises(dg.Failure, match="shorter than 16 characters"):
            run_micro_batch(produced.settings, window)
        shown, code = status()
        assert hops_in(shown) == [[window, "100", "0", "0", "0", "NO"]]
        assert code == 1
        assert "Nothing can be enriched: USAGE_ANALYTICS_PSEUDONYM_KEY is shorter" in " ".join(shown.split())


def test_another_pseudonym_key_is_told_and_splits_no_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_platform(monkeypatch, tmp_path, PSEUDONYM_KEY="the first key, long enough") as produced:
        window = produced.settings.calendar.window_from_key(open_window(produced.settings))
        produced.send(100)
        micro_batch(produced, window)
        produced.send_again(40)
        monkeypatch.setenv("USAGE_ANALYTICS_PSEUDONYM_KEY", "another key, long enough")
        told = "USAGE_ANALYTICS_PSEUDONYM_KEY is another key than the one that this lake's pseudonyms are made with"
        with pytest.raises(dg.Failure, match=told):
            run_micro_batch(load_settings(), window.key)
        shown, code = status()
        assert hops_in(shown) == [[window.key, "140", "100", "0", "100", "NO"]], "all landed, whatever the key"
        assert code == 1 and f"Nothing can be enriched: {told}" in " ".join(shown.split())


def test_what_was_landed_long_ago_and_is_not_loaded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    settings, kafka = load_settings(), FakeKafka.of(1)
    kafka.topic = settings.topic
    monkeypatch.setattr(parts, "kafka_source", lambda settings: nullcontext(kafka))
    calendar = settings.calendar
    older, newer = calendar.windows_of(calendar.latest_closed_day(datetime.now(UTC)))[:2]
    for window in (older, newer, calendar.window_at(datetime.now(UTC))):
        kafka.produce(0, message())
        land_window(settings, window, window.start)
        load(settings, window)
    shown, code = status()
    assert (code, "not loaded" in shown) == (0, False)
    settings.warehouse.unlink()
    shown, code = status()
    assert code == 1 and [row[-1] for row in hops_in(shown)] == ["NO"] * 3
    assert (
        f"Landed but not loaded, and ended long ago: 2 windows ({older.key}, {newer.key}); the runs of usage-analytics "
        "ui load what was left, or materialize usage_events and loaded_events of it"
    ) in " ".join(shown.split())
    assert (
        f"Landed but not loaded yet: some of window {window.key}; a run that is at work loads it, or else the next"
    ) in " ".join(shown.split())
    load(settings, older)
    load(settings, newer)
    shown, code = status()
    assert code == 0 and "Landed but not loaded yet" in shown and "long ago" not in shown


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("USAGE_ANALYTICS_TOPIC", "clicks", "USAGE_ANALYTICS_PSEUDONYM_KEY is not set; user identifiers are not"),
        ("USAGE_ANALYTICS_MAPPING", "mine.toml", "mapping 'mine.toml'"),
    ],
)
def test_what_could_not_be_enriched_is_told_before_anything_lands(
    name: str, value: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_environment(monkeypatch, tmp_path / "home", KAFKA_TIMEOUT_S=1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli.app, ["status"])
    assert f"Nothing can be enriched: {told}" in " ".join(done.stdout.split())
    assert not (tmp_path / "home").exists()
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    done = CliRunner().invoke(cli.app, ["status"])
    assert ("Nothing can be enriched" in done.stdout) == ("MAPPING" in name), "an embedded broker needs no key"
    assert not (tmp_path / "home").exists()
