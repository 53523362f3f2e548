"""Simulated time keeps to a multiple of real time, in all lanes."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from simulation.simulated import scenario

from usage_analytics.simulation.rendering import Messages
from usage_analytics.simulation.run import simulate

SPEED = 12_000.0  # nine hours in 2.7 seconds
SMALL = scenario(users=200, messages_per_day=6_000)


@dataclass(frozen=True)
class Watched:
    """Notes in a file when the messages of each lane are sent, and when they should arrive."""

    folder: Path

    def open(self, lanes: list[int]) -> "WatchedSink":
        return WatchedSink(self.folder / f"{lanes[0]}.parquet", [])


@dataclass(frozen=True)
class WatchedSink:
    path: Path
    notes: list[tuple[int, float, int, int]]

    def write(self, lane: int, messages: Messages) -> None:
        arrivals = (int(messages.arrival_us.min()), int(messages.arrival_us.max()))
        self.notes.append((lane, time.monotonic(), *arrivals))

    def close(self) -> None:
        columns = {"lane": pl.Int64, "at_s": pl.Float64, "first_us": pl.Int64, "last_us": pl.Int64}
        pl.DataFrame(self.notes, schema=columns, orient="row").write_parquet(self.path)


def sent(folder: Path, processes: int, speed: float) -> pl.DataFrame:
    simulate(SMALL, Watched(folder), None, speed=speed, processes=processes)
    return pl.read_parquet(folder / "*.parquet").sort("at_s")


@pytest.mark.parametrize("processes", [1, 2])
def test_messages_are_sent_when_they_are_due(processes: int, tmp_path: Path) -> None:
    """Never long before, and as a rule not long after, however many lanes a process has."""
    for _, notes in sent(tmp_path, processes, SPEED).group_by("lane"):
        at = (notes["at_s"] - notes["at_s"][0]).to_numpy()
        first = (notes["first_us"] - notes["first_us"][0]).to_numpy() / 1e6 / SPEED
        last = (notes["last_us"] - notes["first_us"][0]).to_numpy() / 1e6 / SPEED
        # A quarter of a second goes in one piece, and the first may have been late by as much.
        assert (last - at).max() <= 0.6
        assert np.median(at - first) <= 0.6
        assert at[-1] >= 0.75 * 540 * 60 / SPEED


def test_at_full_speed_nothing_waits(tmp_path: Path) -> None:
    notes = sent(tmp_path, 1, float("inf"))
    took = notes["at_s"].max() - notes["at_s"].min()  # type: ignore[operator]
    assert took < 540 * 60 / SPEED
