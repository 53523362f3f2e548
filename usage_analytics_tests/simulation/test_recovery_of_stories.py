"""What changes over weeks: the uptake of a new mini-app, the end of an old one, and personas."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from simulation.simulated import WEEKS, Simulated

STORY = np.array([(day - WEEKS[0]).days for day in WEEKS])


@pytest.fixture(scope="module")
def uses(long_story: Simulated) -> pl.DataFrame:
    """Of each user on each day of work: whether the new and the old mini-app were used."""
    new, old = (long_story.world[part]["mini_app"] for part in ("adoption", "churn"))
    days = long_story.events.with_columns(day=pl.from_epoch("time_us", "us").dt.date())
    used = days.group_by("user", "day").agg(
        new=(pl.col("mini_app") == new).any(), old=(pl.col("mini_app") == old).any()
    )
    present = [
        long_story.of_day("users", day).filter("present").select("user", day=pl.lit(day), told_new=new, told_old=old)
        for day in WEEKS
    ]
    joined = (
        pl.concat(present)
        .join(used, on=["user", "day"], how="left")
        .with_columns(pl.col("new", "old").fill_null(False))
    )
    story_day = (pl.col("day") - pl.lit(WEEKS[0])).dt.total_days()
    users = long_story.table("users").select("user", "adoption_day", "churn_day")
    return joined.join(users, on="user").with_columns(story_day=story_day)


def test_uses_are_those_of_the_truth_of_each_day(uses: pl.DataFrame) -> None:
    assert uses["new"].equals(uses["told_new"])
    assert uses["old"].equals(uses["told_old"])


def test_nobody_uses_the_new_mini_app_before_taking_it_up(uses: pl.DataFrame, long_story: Simulated) -> None:
    """Before the day in users.parquet never, from then on in the planted share of days (± 0.02)."""
    before = uses.filter(pl.col("story_day") < pl.col("adoption_day"))
    after = uses.filter(pl.col("story_day") >= pl.col("adoption_day"))
    assert min(before.height, after.height) >= 1_000
    assert not before["new"].any()
    assert after["new"].mean() == pytest.approx(long_story.world["adoption"]["use"], abs=0.02)


def test_nobody_uses_the_old_mini_app_after_giving_it_up(uses: pl.DataFrame, long_story: Simulated) -> None:
    """From the day in users.parquet on never, until then in the planted share of days (± 0.02)."""
    after = uses.filter(pl.col("story_day") >= pl.col("churn_day"))
    before = uses.filter(pl.col("story_day") < pl.col("churn_day"))
    assert min(before.height, after.height) >= 1_000
    assert not after["old"].any()
    assert before["old"].mean() == pytest.approx(long_story.world["churn"]["use"], abs=0.02)


def test_adoption_grows_and_churn_decays_as_planted(uses: pl.DataFrame, long_story: Simulated) -> None:
    """Daily shares of users follow the logistic and the exponential curve (root mean square error ≤ 0.03)."""
    adoption, churn = long_story.world["adoption"], long_story.world["churn"]
    shares = uses.group_by("day").agg(pl.col("new", "old").mean()).sort("day")
    adopters = 0.7  # the others never take it up
    grown = adopters * adoption["use"] / (1 + np.exp(-(STORY - adoption["middle_day"]) / adoption["pace"]))
    left = churn["use"] * np.exp(-STORY / churn["mean_days"])
    assert np.sqrt(np.mean((shares["new"].to_numpy() - grown) ** 2)) <= 0.03
    assert np.sqrt(np.mean((shares["old"].to_numpy() - left) ** 2)) <= 0.03
    assert shares["new"][-5:].mean() > 4 * shares["new"][:5].mean()


def test_personas_of_each_day_follow_from_those_before_and_after_drift(long_story: Simulated) -> None:
    users = long_story.table("users")
    for day in WEEKS:
        expected = pl.when(pl.col("drift_day") <= (day - WEEKS[0]).days).then("persona_then").otherwise("persona_first")
        assert users.select("user", persona=expected).equals(long_story.persona_of_users(day))


def test_a_tenth_of_users_drifts_within_eight_weeks(busy_day: Simulated) -> None:
    drift = busy_day.table("users").filter(pl.col("drift_day").is_finite())
    assert drift.height / busy_day.table("users").height == pytest.approx(0.1, abs=0.015)
    assert 0 <= drift["drift_day"].min() < drift["drift_day"].max() < 56  # type: ignore[operator]
    assert drift["drift_day"].mean() == pytest.approx(27.5, abs=3)
    assert (drift["persona_first"] != drift["persona_then"]).mean() > 0.8
    assert busy_day.world["story_start"] == str(date(2026, 10, 23))
