"""Each planted defect is found in the messages alone, at its rate and at its place."""

from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from fakes import KEY, TOPIC
from simulation.simulated import DAY, Messages, messages, scenario

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.lake.layout import Layout
from usage_analytics.simulation.labels import LaneTruth, Totals
from usage_analytics.simulation.lanes import Lane
from usage_analytics.simulation.market_day import INCIDENT_FACTOR, day_factor, market_day, schema_change_us
from usage_analytics.simulation.population import bots, population
from usage_analytics.simulation.scenario import MALFORMED_KINDS, Scenario, Trouble
from usage_analytics.simulation.truth import day_folder
from usage_analytics.trading_calendar import trading_calendar

S = 1_000_000
RATES = Trouble(duplicates=0.01, late=0.01, out_of_order=0.02, malformed=0.014, skewed_users=0.02, bots=0.02)


def troubled() -> Scenario:
    return scenario(users=5_000, messages_per_day=200_000, trouble=RATES)


@cache
def day() -> Messages:
    return messages(troubled())


@cache
def everything() -> int:
    return sum(len(values) for values in day().values)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame, Totals]:
    """Labels, counts by minute, and totals of what was sent."""
    folder, totals = tmp_path_factory.mktemp("truth"), Totals()
    for number in range(troubled().lanes):
        notes = LaneTruth(folder, number)
        for batch in Lane(troubled(), number).batches():
            notes.add(batch)
        notes.close()
        totals += notes.totals
    place = day_folder(folder, DAY)
    return pl.read_parquet(place / "labels-*.parquet"), pl.read_parquet(place / "minutes-*.parquet"), totals


def share(rate: float) -> object:
    """A share of all messages, give or take four standard deviations."""
    return pytest.approx(rate, abs=4 * np.sqrt(rate / everything()))


def ids(labels: pl.DataFrame, kind: str) -> set[str]:
    return set(labels.filter(pl.col("kind") == kind)["event_id"])


def test_malformed_messages_are_the_dead_letters(
    truth: tuple[pl.DataFrame, pl.DataFrame, Totals], tmp_path: Path
) -> None:
    """The platform's own contract finds each of them, with the planted reason, and no other."""
    labels, _, totals = truth
    broken = labels.filter(pl.col("kind") == "malformed")
    planted = {(lane, position): detail for lane, position, detail in broken["lane", "position", "detail"].iter_rows()}
    arrived = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * S
    enricher = Enricher(Layout(tmp_path, TOPIC), load_mapping("usage_event"), trading_calendar(), KEY, 10_000)
    found = {}
    for lane, values in enumerate(day().values):
        count = len(values)
        columns = [range(count), [arrived] * count, [None] * count, values, [None] * count]
        batch = pa.record_batch(
            [pa.array(c, t) for c, t in zip(columns, RAW_SCHEMA.types, strict=True)], schema=RAW_SCHEMA
        )
        good, bad = enricher.judge(batch, TOPIC, lane)
        assert good.num_rows + bad.num_rows == count
        found |= {
            (lane, o): r for o, r in zip(*(bad.column(n).to_pylist() for n in ("kafka_offset", "reason")), strict=True)
        }
    assert found == planted
    assert len(found) / everything() == share(RATES.malformed)
    assert set(found.values()) == set(MALFORMED_KINDS)
    each = RATES.malformed / len(MALFORMED_KINDS)
    assert all(count / everything() == share(each) for count in Counter(found.values()).values())
    assert totals.messages == everything()


def test_duplicates_are_the_repeated_ids(truth: tuple[pl.DataFrame, pl.DataFrame, Totals]) -> None:
    repeated = day().events.group_by("event_id").len().filter(pl.col("len") > 1)
    assert set(repeated["event_id"]) == ids(truth[0], "duplicate")
    assert set(repeated["len"]) == {2}
    assert repeated.height / everything() == share(RATES.duplicates)
    columns = [name for name in day().events.columns if name != "position"]
    copies = day().events.filter(pl.col("event_id").is_in(repeated["event_id"].to_list()))
    assert copies.select(columns).n_unique() == repeated.height, "a copy is the same message"


def of_right_clocks() -> pl.DataFrame:
    right = offsets_of_users().filter(pl.col("offset").abs() <= 5)["user"].to_list()
    return day().events.filter(pl.col("user").is_in(right))


def behind() -> pl.DataFrame:
    """How far each message's event time is behind the latest that its lane had seen."""
    events = of_right_clocks().unique("event_id", keep="first").sort("lane", "position")
    return events.with_columns(behind=(pl.col("time_us").cum_max().over("lane") - pl.col("time_us")) / S)


def test_late_and_out_of_order_messages_are_behind_the_stream(
    truth: tuple[pl.DataFrame, pl.DataFrame, Totals],
) -> None:
    """More than a minute behind is late; 2 to 20 seconds behind is out of order."""
    labels, events = truth[0], behind()
    late, jumbled = ids(labels, "late"), ids(labels, "out_of_order")
    found = set(events.filter(pl.col("behind") > 60)["event_id"])
    assert len(found & late) / len(found) >= 0.98
    assert len(found) / events.height == pytest.approx(RATES.late, rel=0.15)
    found = set(events.filter(pl.col("behind").is_between(2, 20))["event_id"])
    assert len(found & jumbled) / len(found) >= 0.95
    assert len(found) / events.height == pytest.approx(RATES.out_of_order * 18 / 19, rel=0.2)


@cache
def offsets_of_users() -> pl.DataFrame:
    """Seconds by which each user's clock seems off: beside what the stream shows around each message."""
    events = day().events.sort("lane", "position")
    now = pl.col("time_us").rolling_median(window_size=101, center=True, min_samples=20).over("lane")
    events = events.with_columns(offset=(pl.col("time_us") - now) / S)
    return events.group_by("user").agg(pl.col("offset").median(), pl.len()).filter(pl.col("len") >= 8)


def test_clocks_that_are_off_are_found() -> None:
    everyone = population(troubled())
    found = offsets_of_users().filter(pl.col("offset").abs() > 60)
    skew = {f"u{user:07d}": float(us) / S for user, us in enumerate(everyone.clock_skew_us)}
    planted = {user for user, seconds in skew.items() if abs(seconds) > 60}
    known = set(offsets_of_users()["user"])
    assert set(found["user"]) == planted & known
    assert all(offset == pytest.approx(skew[user], abs=30) for user, offset in found["user", "offset"].iter_rows())
    assert np.mean(everyone.clock_skew_us != 0) == pytest.approx(RATES.skewed_users, abs=0.008)


def spike_factor() -> float:
    """How much busier the day is by its news spikes."""
    [with_spikes] = market_day(troubled(), DAY).exchanges
    [without] = market_day(scenario(), DAY).exchanges
    return float(with_spikes.starts.sum() / without.starts.sum())


def test_bots_act_at_fixed_intervals(truth: tuple[pl.DataFrame, pl.DataFrame, Totals]) -> None:
    times = day().events.unique("event_id", keep="first").sort("user", "time_us")
    gaps = times.with_columns(gap=pl.col("time_us").diff().over("user")).drop_nulls("gap")
    rhythm = gaps.group_by("user").agg(
        regular=(pl.col("gap") % pl.col("gap").median() < 1_000).mean(), actions=pl.len()
    )
    found = rhythm.filter((pl.col("regular") > 0.99) & (pl.col("actions") > 200))
    everyone = population(troubled())
    assert set(found["user"]) == {f"u{user:07d}" for user in np.flatnonzero(everyone.is_bot)}
    assert len(found) == bots(troubled())
    busy = day_factor(troubled(), DAY, "XNYS") * spike_factor()
    assert len(ids(truth[0], "bot")) / troubled().messages_per_day / busy == pytest.approx(RATES.bots, rel=0.02)


def test_incidents_and_outages_are_seen_in_latencies_and_errors() -> None:
    market = market_day(troubled(), DAY)
    events = of_right_clocks().filter(pl.col("action").is_in(["open", "error"]))
    events = events.with_columns(pl.col("latency_ms").cast(pl.Float64, strict=False))
    outages = [e for e in market.episodes if e.kind == "outage"]
    incidents = [e for e in market.episodes if e.kind == "latency_incident"]
    assert (len(outages), len(incidents)) == (RATES.outages_per_day, RATES.incidents_per_day)
    errors = events.filter(pl.col("action") == "error")
    assert set(errors["mini_app"]) <= {episode.subject for episode in outages}
    for outage in outages:
        mine = errors.filter(pl.col("mini_app") == outage.subject)["time_us"]
        assert mine.len() >= 20
        assert mine.min() == pytest.approx(outage.start_us, abs=120 * S)
        assert mine.max() == pytest.approx(outage.end_us, abs=120 * S)
    for incident in incidents:
        mine = events.filter((pl.col("mini_app") == incident.subject) & (pl.col("action") == "open"))
        during = pl.col("time_us").is_between(incident.start_us, incident.end_us)
        slow, usual = (mine.filter(when)["latency_ms"].median() for when in (during, ~during))
        assert mine.filter(during).height >= 20
        assert slow / usual == pytest.approx(INCIDENT_FACTOR, rel=0.35)


def test_the_schema_changes_at_one_moment_of_the_day() -> None:
    versions = (
        day()
        .events.group_by("version")
        .agg(pl.col("time_us").min().alias("first"), pl.col("time_us").max().alias("last"))
    )
    first, second = versions.sort("version").iter_rows(named=True)
    change = schema_change_us(troubled())
    assert (first["version"], second["version"]) == (1, 2)
    assert first["last"] < change <= second["first"]
    assert second["first"] - first["last"] < 5 * S


def test_counts_by_minute_are_those_of_the_messages(truth: tuple[pl.DataFrame, pl.DataFrame, Totals]) -> None:
    _, minutes, totals = truth
    events = day().events.filter(~pl.col("latency_ms").str.ends_with("ms"))  # of the wrong type: a dead letter
    counted = events.group_by((pl.col("time_us") // (60 * S) * 60 * S).alias("minute_us"), "mini_app").len("n")
    planted = minutes.group_by("minute_us", "mini_app").agg(pl.col("messages").sum())
    assert counted.sort("minute_us", "mini_app").rows() == planted.sort("minute_us", "mini_app").rows()
    duplicates = minutes.filter("duplicate")["messages"].sum()
    assert duplicates == totals.planted["duplicate", ""]
