"""`usage-analytics status`: the last windows by default, all history only when asked for."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.ingestion.landing import Worker, land
from usage_analytics.trading_calendar import Window
from usage_analytics_tests.integration.platform_under_test import Produced, embedded_platform


def micro_batch(produced: Produced, window: Window) -> None:
    """What the job does, without Dagster, as if the window were open."""
    settings, log, layout = produced.settings, parts.offset_log(produced.settings), parts.layout(produced.settings)
    with parts.kafka_source(settings) as source:
        land([Worker(source)], log, layout, window, parts.limits(settings), window.start)
    enriched = parts.enricher(settings).enrich(log.of_window(window.key))
    parts.warehouse(settings).load_window(settings.topic, window.key, enriched.chunks)


def ledger(*options: str) -> list[list[str]]:
    """The rows of the table of hops, without its borders."""
    done = CliRunner().invoke(cli.app, ["status", *options], catch_exceptions=False)
    lines = done.stdout[done.stdout.index("Ledger") :].splitlines()
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
        assert ledger() == shown
        assert ledger("--windows", "1", "--all") == [shown[0], ["all windows", "1,710", "1,700", "10", "1,700", "yes"]]
        for path in parts.layout(produced.settings).usage_events(older.key, "x").parent.iterdir():
            path.unlink()
        assert ledger("--windows", "1") == [shown[0]]
        assert ledger("--windows", "1", "--all")[1] == ["all windows", "1,710", "500", "0", "1,700", "NO"]
