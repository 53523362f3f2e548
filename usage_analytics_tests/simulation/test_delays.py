"""How long messages are under way, and whose clocks are off, is in their order: it is read from the messages alone."""

import numpy as np
import polars as pl
import pytest
from simulation.simulated import RATES, Simulated

S = 1_000_000


@pytest.fixture(scope="module")
def offsets(troubled_day: Simulated) -> pl.DataFrame:
    """Seconds by which each user's clock seems off: beside what the stream shows around each message."""
    events = troubled_day.events.sort("lane", "position")
    now = pl.col("time_us").rolling_median(window_size=101, center=True, min_samples=20).over("lane")
    events = events.with_columns(offset=(pl.col("time_us") - now) / S)
    return events.group_by("user").agg(pl.col("offset").median(), pl.len()).filter(pl.col("len") >= 8)


@pytest.fixture(scope="module")
def stream(troubled_day: Simulated, offsets: pl.DataFrame) -> pl.DataFrame:
    """Messages of right clocks with the latest event time that their lane had seen (``clock``), in seconds."""
    right = offsets.filter(pl.col("offset").abs() <= 5)["user"]
    events = troubled_day.events.filter(pl.col("user").is_in(right.implode())).sort("lane", "position")
    clock = pl.col("time_us").cum_max().over("lane") / S
    return events.with_columns(clock=clock, behind=clock - pl.col("time_us") / S)


def labelled(found: Simulated, kind: str) -> set[str]:
    labels = found.of_day("labels-*")
    return set(labels.filter(pl.col("kind") == kind)["event_id"])


def test_late_and_out_of_order_messages_are_behind_the_stream(troubled_day: Simulated, stream: pl.DataFrame) -> None:
    """More than a minute behind is late; 2 to 20 seconds behind is out of order."""
    events = stream.unique("event_id", keep="first")
    found = set(events.filter(pl.col("behind") > 60)["event_id"])
    assert len(found & labelled(troubled_day, "late")) / len(found) >= 0.98
    assert len(found) / events.height == pytest.approx(RATES.late, rel=0.15)
    found = set(events.filter(pl.col("behind").is_between(2, 20))["event_id"])
    assert len(found & labelled(troubled_day, "out_of_order")) / len(found) >= 0.95
    assert len(found) / events.height == pytest.approx(RATES.out_of_order * 18 / 19, rel=0.2)


def test_late_messages_are_about_a_quarter_of_an_hour_late(stream: pl.DataFrame) -> None:
    """A lognormal delay: median 900 s (± 12 %), deviation 0.8 (± 0.1), at most three hours."""
    whole = stream.filter(pl.col("time_us") / S < stream["clock"].max() - 3 * 3600)  # the stream goes on long enough
    late = whole.unique("event_id", keep="first").filter(pl.col("behind") > 60)["behind"].to_numpy()
    assert len(late) >= 400
    assert np.median(late) == pytest.approx(900, rel=0.12)
    low, high = np.log(np.quantile(late, [0.16, 0.84]))
    assert (high - low) / 2 == pytest.approx(0.8, abs=0.1)
    assert 3_600 < late.max() <= 3 * 3600 + 5


def test_out_of_order_messages_are_one_to_twenty_seconds_late(stream: pl.DataFrame) -> None:
    """Evenly so: quartiles of those from 2 to 20 seconds behind (± 0.8 s)."""
    behind = stream.unique("event_id", keep="first").filter(pl.col("behind").is_between(2, 20))["behind"].to_numpy()
    assert np.quantile(behind, [0.25, 0.5, 0.75]) == pytest.approx([6.5, 11, 15.5], abs=0.8)


def test_duplicates_come_within_two_minutes(stream: pl.DataFrame) -> None:
    """Evenly so, by the clock of the stream: tenth, middle and ninetieth of a hundred within 7 s."""
    busy = stream.filter(pl.col("clock") < stream["clock"].max() - 3600)
    waits = busy.group_by("event_id").agg(pl.len(), wait=pl.col("clock").max() - pl.col("clock").min())
    found = waits.filter(pl.col("len") == 2)["wait"].to_numpy()
    assert len(found) >= 800
    assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx([12.45, 60.25, 108.05], abs=7)
    assert found.max() <= 120 + 10


def test_clocks_that_are_off_are_those_of_the_truth(troubled_day: Simulated, offsets: pl.DataFrame) -> None:
    """By as many seconds, forward or back (± 150 s), of as many users, up to an hour."""
    truth = troubled_day.table("users").select("user", told=pl.col("clock_skew_us") / S)
    both = offsets.join(truth, on="user")
    assert (both["offset"] - both["told"]).abs().max() <= 150  # type: ignore[operator]
    found = both.filter(pl.col("offset").abs() > 150)
    assert found.height / offsets.height == pytest.approx(RATES.skewed_users, abs=0.008)
    measured = found["offset"].to_numpy()
    assert (measured > 0).mean() == pytest.approx(0.5, abs=0.2)
    assert measured.std() == pytest.approx(3_600 / np.sqrt(3), rel=0.2)
    assert np.abs(measured).max() <= 3_600 + 150


def test_events_of_such_clocks_are_labelled(troubled_day: Simulated, offsets: pl.DataFrame) -> None:
    off = offsets.filter(pl.col("offset").abs() > 150)["user"]
    events = troubled_day.events.filter(pl.col("user").is_in(off.implode()))
    assert events.height >= 1_000
    assert set(events["event_id"]) <= labelled(troubled_day, "clock_skew")
