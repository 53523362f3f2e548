"""The machine's clock jumps backwards: nothing lands in a window older than the newest, nothing is lost or twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from usage_analytics import parts
from usage_analytics.orchestration import micro_batch_assets
from usage_analytics_tests.faults.failing_runs import at_batch, sentence_of_failure
from usage_analytics_tests.integration.platform_under_test import Produced, freeze, messages_landed, micro_batch

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def test_a_clock_that_jumped_back_is_told_until_it_has_caught_up(
    produced: Produced, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = produced.settings
    windows = settings.calendar.windows_of(produced.day)
    earlier, newest, next_one = windows[4], windows[12], windows[13]

    def at(now: datetime) -> None:
        freeze(monkeypatch, now, micro_batch_assets)

    produced.send(1_000, broken_of_each_kind=1)
    at(newest.start)
    assert messages_landed(micro_batch(settings, newest.key)) == 1_010
    landed = list(parts.offset_log(settings).all())

    produced.send(1_000, broken_of_each_kind=1)
    at(earlier.start + timedelta(minutes=1))  # two hours back
    told = sentence_of_failure(settings, earlier.key)
    assert f"has chunks in window {newest.key}, but by the clock the open window is {earlier.key}" in told
    assert "the clock stepped back" in told
    assert list(parts.offset_log(settings).all()) == landed

    # Whoever does not want to wait may land into the newest window.
    assert messages_landed(micro_batch(settings, newest.key)) == 1_010
    produced.send(1_000, broken_of_each_kind=1)
    at(next_one.start)
    with monkeypatch.context() as meanwhile:  # it jumps back once more, while messages land
        at_batch(meanwhile, 2, lambda: at(earlier.start))
        assert messages_landed(micro_batch(settings, next_one.key)) == 1_010
    at(next_one.end + timedelta(hours=1))
    for window in (newest, next_one):
        assert messages_landed(micro_batch(settings, window.key)) == 0
    assert {record.window for record in parts.offset_log(settings).all()} == {newest.key, next_one.key}
    produced.assert_came_through_once()
