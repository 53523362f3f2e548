"""Each planted defect is found in the messages alone, at its rate and at its place, as the truth's files have it."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from fakes import KEY, TOPIC
from simulation.simulated import RATES, Simulated

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.judge import Judge
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.simulation.market_day import MINUTE_US
from usage_analytics.simulation.scenario import MALFORMED_KINDS
from usage_analytics.trading_calendar import trading_calendar

S = 1_000_000


def share(rate: float, found: Simulated) -> object:
    """A share of all messages, give or take four standard deviations."""
    return pytest.approx(rate, abs=4 * np.sqrt(rate / found.totals.messages))


@pytest.fixture(scope="module")
def labels(troubled_day: Simulated) -> pl.DataFrame:
    return troubled_day.of_day("labels-*")


def ids(labels: pl.DataFrame, kind: str) -> set[str]:
    return set(labels.filter(pl.col("kind") == kind)["event_id"])


def test_labels_stand_at_the_position_of_their_message(troubled_day: Simulated, labels: pl.DataFrame) -> None:
    there = labels.join(troubled_day.events, on=["lane", "position"], suffix="_read")
    assert there.height > 0.8 * labels.height
    unread = labels.join(there, on=["lane", "position"], how="anti")
    assert unread["position"].is_in(labels.filter(pl.col("kind") == "malformed")["position"].implode()).all()
    for told, read in (("event_id", "event_id_read"), ("user", "user_read"), ("event_time_us", "time_us")):
        assert there[told].equals(there[read])


def test_malformed_messages_are_the_dead_letters(troubled_day: Simulated, labels: pl.DataFrame, tmp_path: Path) -> None:
    """The platform's own contract finds each of them, with the planted reason, and no other."""
    broken = labels.filter(pl.col("kind") == "malformed")
    planted = {(lane, position): detail for lane, position, detail in broken["lane", "position", "detail"].iter_rows()}
    arrived = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * S
    judge = Judge(load_mapping("usage_event"), trading_calendar(), KEY, 10_000)
    found = {}
    for lane, values in enumerate(troubled_day.values):
        count = len(values)
        columns = [range(count), [arrived] * count, [None] * count, [v or None for v in values], [None] * count]
        batch = pa.record_batch(
            [pa.array(c, t) for c, t in zip(columns, RAW_SCHEMA.types, strict=True)], schema=RAW_SCHEMA
        )
        good, bad = judge.judge([batch], TOPIC, lane)
        assert good.num_rows + bad.num_rows == count
        found |= {
            (lane, o): r for o, r in zip(*(bad.column(n).to_pylist() for n in ("kafka_offset", "reason")), strict=True)
        }
    assert found == planted
    everything = sum(len(values) for values in troubled_day.values)
    assert len(found) / everything == share(RATES.malformed, troubled_day)
    assert set(found.values()) == set(MALFORMED_KINDS)
    each = RATES.malformed / len(MALFORMED_KINDS)
    assert all(count / everything == share(each, troubled_day) for count in Counter(found.values()).values())
    assert troubled_day.totals.messages == everything


def test_duplicates_are_the_repeated_ids(troubled_day: Simulated, labels: pl.DataFrame) -> None:
    repeated = troubled_day.events.group_by("event_id").len().filter(pl.col("len") > 1)
    assert set(repeated["event_id"]) == ids(labels, "duplicate")
    assert set(repeated["len"]) == {2}
    assert repeated.height / troubled_day.totals.messages == share(RATES.duplicates, troubled_day)
    columns = [name for name in troubled_day.events.columns if name != "position"]
    copies = troubled_day.events.filter(pl.col("event_id").is_in(repeated["event_id"].to_list()))
    assert copies.select(columns).n_unique() == repeated.height, "a copy is the same message"


def test_bots_act_at_fixed_intervals(troubled_day: Simulated, labels: pl.DataFrame) -> None:
    """Those of users.parquet and no other, at their share of all messages (± 20 %), and all day long."""
    times = troubled_day.events.unique("event_id", keep="first").sort("user", "time_us")
    gaps = times.with_columns(gap=pl.col("time_us").diff().over("user")).drop_nulls("gap")
    rhythm = gaps.group_by("user").agg(
        regular=(pl.col("gap") % pl.col("gap").median() < 1_000).mean(), actions=pl.len()
    )
    found = set(rhythm.filter((pl.col("regular") > 0.95) & (pl.col("actions") > 200))["user"])
    assert found == set(troubled_day.table("users").filter("is_bot")["user"])
    theirs = troubled_day.events.filter(pl.col("user").is_in(sorted(found)))
    assert set(theirs["event_id"]) <= ids(labels, "bot")
    assert set(labels.filter(pl.col("kind") == "bot")["user"]) == found
    assert theirs.height / troubled_day.totals.messages == pytest.approx(RATES.bots, rel=0.2)
    minutes = troubled_day.of_day("expected")["minute_us"]
    hours = (theirs["time_us"].max() - theirs["time_us"].min()) / (minutes.max() - minutes.min())  # type: ignore[operator]
    assert hours == pytest.approx(1, abs=0.05)
    assert not troubled_day.of_day("users").filter(pl.col("user").is_in(sorted(found)))["present"].any()


def test_incidents_make_a_mini_app_six_times_slower_for_twenty_minutes(troubled_day: Simulated) -> None:
    """Median latency in them beside that of the rest of the day: 6 ± 35 %."""
    opened = troubled_day.events.filter(pl.col("action") == "open")
    opened = opened.with_columns(pl.col("latency_ms").cast(pl.Float64, strict=False))
    incidents = troubled_day.episodes("latency_incident")
    assert len(incidents) == RATES.incidents_per_day
    for incident in incidents:
        assert incident["end_us"] - incident["start_us"] == 20 * MINUTE_US
        mine = opened.filter(pl.col("mini_app") == incident["subject"])
        during = pl.col("time_us").is_between(incident["start_us"], incident["end_us"])
        slow, usual = (mine.filter(when)["latency_ms"].median() for when in (during, ~during))
        assert mine.filter(during).height >= 8
        assert slow / usual == pytest.approx(6, rel=0.35)  # type: ignore[operator]


def test_an_outage_gives_errors_only_after_thirty_seconds_for_a_quarter_of_an_hour(troubled_day: Simulated) -> None:
    right = troubled_day.table("users").filter(pl.col("clock_skew_us") == 0)["user"]
    events = troubled_day.events.filter(
        pl.col("user").is_in(right.implode()), ~pl.col("latency_ms").str.ends_with("ms")
    )
    [outage] = troubled_day.episodes("outage")
    assert outage["end_us"] - outage["start_us"] == 15 * MINUTE_US
    errors = events.filter(pl.col("action") == "error")
    during = pl.col("time_us").is_between(outage["start_us"], outage["end_us"], closed="left")
    meant = events.filter(pl.col("mini_app") == outage["subject"], during)
    assert errors.height >= 10
    assert set(errors["event_id"]) == set(meant["event_id"])
    assert set(errors["latency_ms"].cast(pl.Float64)) == {30_000.0}


def test_the_schema_changes_at_one_moment_of_the_day(troubled_day: Simulated) -> None:
    """Four hours after the opening bell."""
    ends = troubled_day.events.group_by("version").agg(
        pl.col("time_us").min().alias("first"), pl.col("time_us").max().alias("last")
    )
    first, second = ends.sort("version").iter_rows(named=True)
    change = troubled_day.plan()["schema_change_us"]
    opening = troubled_day.of_day("expected").filter(pl.col("phase") == "opening")["minute_us"].min()
    assert change - opening == 240 * MINUTE_US
    assert (first["version"], second["version"]) == (1, 2)
    assert first["last"] < change <= second["first"]
    assert second["first"] - first["last"] < 5 * S


def test_counts_by_minute_are_those_of_the_messages(troubled_day: Simulated, labels: pl.DataFrame) -> None:
    minutes = troubled_day.of_day("minutes-*")
    events = troubled_day.events.filter(~pl.col("latency_ms").str.ends_with("ms"))  # of the wrong type: a dead letter
    counted = events.group_by("minute_us", "mini_app").len("n")
    planted = minutes.group_by("minute_us", "mini_app").agg(pl.col("messages").sum())
    assert counted.sort("minute_us", "mini_app").rows() == planted.sort("minute_us", "mini_app").rows()
    assert minutes.filter("duplicate")["messages"].sum() == len(ids(labels, "duplicate"))
    kinds = Counter(dict(labels.group_by("kind").len().iter_rows()))
    for (kind, _), count in troubled_day.totals.planted.items():
        kinds[kind] -= count
    assert not any(kinds.values())
