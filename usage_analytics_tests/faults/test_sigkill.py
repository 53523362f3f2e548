"""Runs killed with SIGKILL, at chosen points and at random ones: the next run heals, nothing is lost or twice."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import pytest

from usage_analytics import parts
from usage_analytics.settings import PREFIX
from usage_analytics_tests.faults.killed_runs import KilledRuns
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    messages_landed,
    micro_batch,
    open_window,
    raw_values,
)

pytestmark = pytest.mark.faults
FIRST = 3_000


@pytest.fixture(scope="module")
def killed() -> Iterator[KilledRuns]:
    with KilledRuns() as runs:
        yield runs


def left_behind(produced: Produced) -> dict[str, int | bool]:
    """What a killed run left: proof that it died where the test says."""
    layout, records = parts.layout(produced.settings), list(parts.offset_log(produced.settings).all())
    raw = layout.offsets.parent
    events = list(layout.root.glob("usage_events/**/*"))
    loaded = parts.warehouse(produced.settings).read("SELECT count(*) AS n FROM usage_events").item()
    return {
        "records": len(records),
        "unrecorded chunks": len(list(raw.glob("window=*/*.parquet"))) - len(records),
        "temporary records": len(list(layout.offsets.rglob(".*.inprogress"))),
        "enriched": len([path for path in events if path.suffix == ".parquet"]),
        "temporary events": len([path for path in events if path.name.endswith(".inprogress")]),
        "letters": len(list(layout.root.glob("dead_letters/**/*.parquet"))),
        "loaded": loaded > 0,
    }


NOTHING = {
    "records": 0, "unrecorded chunks": 0, "temporary records": 0, "enriched": 0, "temporary events": 0,
    "letters": 0, "loaded": False,
}  # fmt: skip
FIRST_CHUNK = {"records": 1, "enriched": 1, "letters": 1}  # a chunk is enriched as soon as its record is there


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("in_unfinished_chunk_file", {**FIRST_CHUNK, "unrecorded chunks": 1}),
        ("before_offset_record", {**FIRST_CHUNK, "unrecorded chunks": 1}),
        ("in_offset_record", {**FIRST_CHUNK, "unrecorded chunks": 1, "temporary records": 1}),
        ("after_offset_record", {**FIRST_CHUNK, "records": 2}),
        ("before_events_file", {"records": 2, "enriched": 1, "letters": 2}),
        ("in_events_file", {"records": 2, "enriched": 1, "temporary events": 1, "letters": 2}),
        ("before_warehouse_commit", {"records": "all", "enriched": "all", "letters": "with broken"}),
        (
            "after_warehouse_commit",
            {"records": "all", "enriched": "all", "letters": "with broken", "loaded": True},
        ),
    ],
)
def test_killed_at(point: str, left: dict[str, object], killed: KilledRuns, produced: Produced) -> None:
    window = open_window(produced.settings)
    produced.send(FIRST, broken_of_each_kind=15)
    assert killed.run(window, point) == -signal.SIGKILL
    found = left_behind(produced)
    counts = {"all": found["records"], "with broken": chunks_with_broken_messages(produced)}
    assert found == NOTHING | {name: counts.get(str(n), n) for name, n in left.items()}
    assert int(found["records"]) >= 6 or left["records"] != "all"

    landed = sum(record.rows for record in parts.offset_log(produced.settings).all())
    produced.send(500, broken_of_each_kind=1)
    healed = micro_batch(produced.settings, window)
    assert landed + messages_landed(healed) == len(produced.good) + len(produced.broken)
    produced.assert_came_through_once()


def chunks_with_broken_messages(produced: Produced) -> int:
    broken = set(produced.broken)
    records = parts.offset_log(produced.settings).all()
    return sum(any(value in broken for value in raw_values(produced.settings, [record])) for record in records)


@pytest.mark.slow
def test_killed_at_random_times(killed: KilledRuns, produced: Produced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "MAX_MESSAGES_PER_RUN", "1500")
    monkeypatch.setenv(PREFIX + "PARALLEL", "3")
    window, seed = open_window(produced.settings), random.randrange(10**6)
    print(f"random seed {seed}")
    chance, endings = random.Random(seed), []
    for _ in range(8):
        produced.send(700, broken_of_each_kind=1)
        endings.append(killed.run(window, after_s=chance.uniform(0.1, 1.6)))
    assert set(endings) <= {0, -signal.SIGKILL} and endings.count(-signal.SIGKILL) >= 2, endings
    monkeypatch.delenv(PREFIX + "MAX_MESSAGES_PER_RUN")
    assert micro_batch(produced.settings, window).success
    produced.assert_came_through_once()
