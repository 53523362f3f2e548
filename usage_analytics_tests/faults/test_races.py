"""Two runs land one range at once, in processes of their own: each message is in the lake and the warehouse once."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from usage_analytics import parts
from usage_analytics.ingestion.offset_log import chunk_name
from usage_analytics_tests.faults.killed_runs import KilledRuns
from usage_analytics_tests.integration.platform_under_test import PARTITIONS, Produced, micro_batch, open_window

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def racers() -> Iterator[list[KilledRuns]]:
    with KilledRuns() as first, KilledRuns() as second:
        yield [first, second]


def test_two_runs_at_once(racers: list[KilledRuns], produced: Produced, tmp_path: Path) -> None:
    window = open_window(produced.settings)
    for number in range(4):
        produced.send(1_500, broken_of_each_kind=2)
        committed, meeting = parts.offset_log(produced.settings).committed(), tmp_path / f"meeting {number}"
        meeting.mkdir()
        for racer in racers:
            racer.begin(window, meeting=meeting)
        assert [racer.end() for racer in racers] == [0, 0]
        # Both had read the same range, and stood before the same record: it let one of them pass.
        assert len(list(meeting.glob("*.here"))) == 2
        lost = [path.read_text().split() for path in meeting.glob("*.conflicts")]
        starts = [chunk_name(produced.settings.topic, p, committed.get(p, 0)) for p in range(PARTITIONS)]
        assert sum(name in starts for names in lost for name in names) >= 1, lost
    assert micro_batch(produced.settings, window).success
    produced.assert_came_through_once()


def test_two_runs_at_once_of_which_one_is_killed(racers: list[KilledRuns], produced: Produced) -> None:
    window, seed = open_window(produced.settings), random.randrange(10**6)
    print(f"random seed {seed}")
    chance = random.Random(seed)
    for _ in range(4):
        produced.send(1_500, broken_of_each_kind=2)
        racers[0].begin(window, after_s=chance.uniform(0.3, 2.0))
        racers[1].begin(window)
        assert racers[1].end() == 0
        assert racers[0].end() in (0, -signal.SIGKILL)
    assert micro_batch(produced.settings, window).success
    produced.assert_came_through_once()
