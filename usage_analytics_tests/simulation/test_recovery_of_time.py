"""When things happen is in the messages, minute by minute as the truth expects it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from simulation.simulated import DAY, SPIKES, WEEKS, Simulated, first_events, scenario, simulated
from simulation.statistics_of_tests import misfit

from usage_analytics.simulation.catalogue import TOOLS
from usage_analytics.simulation.market_day import MINUTE_US, day_factor, market_day
from usage_analytics.simulation.population import population
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario, trading_days
from usage_analytics.simulation.truth import day_folder, write_day

THANKSGIVING = date(2026, 11, 26)
AXES = ("exchange", "minute_us", "phase")


def starts(found: Simulated) -> dict[str, pl.DataFrame]:
    """The first event of each user session, by the kind of user session; all others are walks."""
    begun = found.events.sort("time_us").unique("user_session", keep="first")
    popup = pl.col("screen").str.starts_with("popup/")
    return {
        "walks": first_events(found), "errands": begun.filter(pl.col("mini_app").is_in(TOOLS), ~popup),
        "reactions": begun.filter(popup),
    }  # fmt: skip


def by_minute(begun: pl.DataFrame, expected: pl.DataFrame) -> np.ndarray:
    """How many user sessions start in each of the expected minutes."""
    counts = expected.join(
        begun.group_by("minute_us").agg(n=pl.len()), on="minute_us", how="left", maintain_order="left"
    )
    assert counts["n"].sum() == begun.height, "none starts in another minute"
    return counts["n"].fill_null(0).to_numpy().astype(float)


def test_walks_start_when_they_are_expected_to(busy_day: Simulated) -> None:
    """Starts in each minute differ from expected.parquet by chance alone: misfit 1 ± 0.2, sum ± 4 %."""
    expected = busy_day.of_day("expected")
    observed, curve = by_minute(starts(busy_day)["walks"], expected), expected["walks"].to_numpy()
    assert observed.sum() == pytest.approx(curve.sum(), rel=0.04)
    assert misfit(observed, curve, curve, least=1) == pytest.approx(1, abs=0.2)
    even = np.full(len(observed), observed.mean())
    assert misfit(observed, even, even) > 5


def test_every_kind_of_user_session_is_expected(busy_day: Simulated) -> None:
    """The sum of each kind in expected.parquet is that of the messages (± 8 %), and so is its shape."""
    expected = busy_day.of_day("expected")
    begun = starts(busy_day)
    half_hour = pl.col("minute_us") // (30 * MINUTE_US)
    assert {*begun, *AXES, "messages"} == set(expected.columns)
    for kind in begun:
        observed, planned = by_minute(begun[kind], expected), expected[kind].to_numpy()
        assert observed.sum() == pytest.approx(planned.sum(), rel=0.08)
        groups = expected.select(half_hour - half_hour.min()).to_series().to_numpy()
        often = np.bincount(groups, planned) > 100
        assert np.bincount(groups, observed)[often] == pytest.approx(np.bincount(groups, planned)[often], rel=0.4)


@pytest.mark.parametrize("name", ["busy_day", "troubled_day"])
def test_as_many_messages_as_expected_come_in_each_minute(name: str, request: pytest.FixtureRequest) -> None:
    """Messages, each once, differ from expected.parquet by chance alone: misfit 1 ± 0.4, sum ± 4 %.

    User sessions are independent of each other, their messages are not: a minute's variance is the sum of squares of
    how many messages each has in it.
    """
    found: Simulated = request.getfixturevalue(name)
    expected = found.of_day("expected")
    of_sessions = found.events.unique("event_id").group_by("minute_us", "user_session").agg(n=pl.len().cast(pl.Int64))
    minutes = of_sessions.group_by("minute_us").agg(pl.col("n").sum(), variance=(pl.col("n") ** 2).sum())
    rows = expected.join(minutes, on="minute_us", how="left", maintain_order="left").fill_null(0)
    observed, variance, planned = (rows[each].to_numpy().astype(float) for each in ("n", "variance", "messages"))
    assert observed.sum() == pytest.approx(planned.sum(), rel=0.04)
    assert misfit(observed, planned, variance, least=50) == pytest.approx(1, abs=0.4)
    # It sees a difference where there is one: all a minute later, or as if all happened in the minute of the start.
    assert misfit(observed, np.roll(planned, 1), variance, least=50) > 1.5
    at_once = rows["walks"].to_numpy() * planned.sum() / rows["walks"].sum()
    assert misfit(observed, at_once, variance, least=50) > 5


@pytest.mark.parametrize("bots", [0.0, 0.5])
def test_as_many_messages_are_expected_as_were_asked_for(bots: float, tmp_path: Path) -> None:
    """Bots among them (± 2 %)."""
    chosen = scenario(users=6_000, messages_per_day=480_000, trouble=replace(NO_TROUBLE, bots=bots))
    asked_for = chosen.messages_per_day * day_factor(chosen, DAY, "XNYS")
    assert written(tmp_path, chosen)["messages"].sum() == pytest.approx(asked_for, rel=0.02)


def test_phases_have_their_intensity(busy_day: Simulated) -> None:
    """The bells are busiest, then the middle of the day, then what is before and after."""
    expected = busy_day.of_day("expected")
    observed = expected.with_columns(n=by_minute(starts(busy_day)["walks"], expected))
    calm = observed.filter(~during_spikes(busy_day))
    rate = dict(calm.group_by("phase").agg(pl.col("n").mean()).iter_rows())
    assert min(rate["opening"], rate["closing"]) > 1.2 * rate["midday"]
    assert rate["midday"] > 1.2 * max(rate["pre_open"], rate["after_close"])
    minutes = dict(observed.group_by("phase").len().iter_rows())
    assert minutes == {"pre_open": 90, "opening": 30, "midday": 330, "closing": 30, "after_close": 60}


def during_spikes(found: Simulated) -> pl.Expr:
    """Whether a minute belongs to a news spike."""
    spikes = [
        pl.col("minute_us").is_between(spike["start_us"], spike["end_us"], closed="left")
        for spike in found.episodes("news_spike")
    ]
    return pl.any_horizontal(spikes)


def written(folder: Path, chosen: Scenario, day: date = DAY) -> pl.DataFrame:
    """The minutes of a day that the truth of a scenario expects."""
    write_day(folder, population(chosen), market_day(chosen, day))
    return pl.read_parquet(day_folder(folder, day) / "expected.parquet")


def test_news_spikes_are_five_times_the_ordinary_for_ten_minutes(busy_day: Simulated, tmp_path: Path) -> None:
    """Beside the same day without news: exactly in the truth, ± 12 % in the messages."""
    calm = written(tmp_path, scenario(users=6_000, messages_per_day=480_000))["walks"]
    expected = busy_day.of_day("expected")
    spiked = expected.select(during_spikes(busy_day)).to_series().to_numpy()
    assert (len(busy_day.episodes("news_spike")), spiked.sum()) == (SPIKES.spikes_per_day, 20)
    assert (expected["walks"] / calm).to_numpy() == pytest.approx(np.where(spiked, 5.0, 1.0))
    observed = by_minute(starts(busy_day)["walks"], expected)
    assert observed[spiked].sum() / calm.to_numpy()[spiked].sum() == pytest.approx(5, rel=0.12)


def test_days_have_as_many_user_sessions_as_expected(long_story: Simulated) -> None:
    begun = first_events(long_story).select(day=pl.from_epoch("time_us", "us").dt.date())["day"].value_counts()
    observed = np.array([dict(begun.iter_rows())[day] for day in WEEKS], float)
    expected = np.array([long_story.of_day("expected", day)["walks"].sum() for day in WEEKS])
    assert misfit(observed, expected, expected) <= 2
    even = np.full(len(expected), expected.mean())
    assert misfit(observed, even, even) > 3


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Of each trading day of a year, the walks expected of each user at work, with its weekday."""
    days = trading_days(("XNYS",), date(2026, 1, 1), date(2026, 12, 31))
    chosen, folder = scenario(*days, users=2_000, messages_per_day=80_000), tmp_path_factory.mktemp("year")
    rows = []
    for day in days:
        expected = written(folder, chosen, day)
        present = pl.read_parquet(day_folder(folder, day) / "users.parquet")["present"].sum()
        rows.append((day, day.weekday(), expected["walks"].sum() / present, expected.height))
    table = pl.DataFrame(rows, schema=["day", "weekday", "each", "minutes"], orient="row")
    month = pl.col("day").dt.month()
    return table.with_columns(last_of_month=(month != month.shift(-1)).fill_null(True))


def test_weekdays_differ(year: pl.DataFrame) -> None:
    """0.95, 1, 1.03, 1 and 0.9 times an ordinary day from Monday to Friday (± 0.025)."""
    ordinary = year.filter(~pl.col("last_of_month"), pl.col("minutes") == 540)
    found = ordinary.group_by("weekday").agg(pl.col("each").mean()).sort("weekday")["each"].to_numpy()
    assert found / found.mean() == pytest.approx(np.array([0.95, 1, 1.03, 1, 0.9]) / 0.976, abs=0.025)


def test_the_end_of_a_month_is_busier(year: pl.DataFrame) -> None:
    """1.25 times (± 0.05)."""
    usual = dict(year.filter(~pl.col("last_of_month")).group_by("weekday").agg(pl.col("each").mean()).iter_rows())
    ends = year.filter("last_of_month")
    assert ends.height == 12
    assert np.mean([each / usual[weekday] for weekday, each in ends["weekday", "each"].iter_rows()]) == pytest.approx(
        1.25, abs=0.05
    )


def test_days_without_noise_would_be_alike(year: pl.DataFrame) -> None:
    """What is left beside weekday and month end is chance of about 4 %."""
    ordinary = year.filter(~pl.col("last_of_month"), pl.col("minutes") == 540)
    left = ordinary.select(pl.col("each").log() - pl.col("each").log().mean().over("weekday")).to_series()
    assert left.std() == pytest.approx(0.04, abs=0.015)


@pytest.fixture(scope="module")
def holiday() -> Iterator[Simulated]:
    """Thanksgiving, on which New York is closed and London is not, and the half day after."""
    days = (THANKSGIVING, date(2026, 11, 27))
    with simulated(scenario(*days, users=1_000, messages_per_day=40_000, exchanges=("XNYS", "XLON"))) as found:
        yield found


def test_exchanges_keep_hours_of_their_own(holiday: Simulated) -> None:
    """Nobody of a closed exchange starts anything; the others start within its hours, as often as expected."""
    begun = first_events(holiday).with_columns(day=pl.from_epoch("time_us", "us").dt.date())
    told = dict(holiday.table("users").select("region", "exchange").unique().iter_rows())
    assert told == {"americas": "XNYS", "emea": "XLON"}
    begun = begun.with_columns(exchange=pl.col("region").replace_strict(told))
    for day, open_ in ((THANKSGIVING, {"XLON": 660}), (date(2026, 11, 27), {"XLON": 660, "XNYS": 360})):
        expected = holiday.of_day("expected", day)
        assert dict(expected.group_by("exchange").len().iter_rows()) == open_
        today = begun.filter(pl.col("day") == day)
        assert set(today["exchange"]) == set(open_)
        for exchange in open_:
            mine = expected.filter(pl.col("exchange") == exchange)
            observed = by_minute(today.filter(pl.col("exchange") == exchange), mine)
            assert observed.sum() == pytest.approx(mine["walks"].sum(), rel=0.15)
