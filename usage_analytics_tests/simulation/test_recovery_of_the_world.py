"""Mini-apps, firms, desks and users are in the messages as the truth's tables have them."""

import numpy as np
import polars as pl
import pytest
from simulation.simulated import Simulated, first_events
from simulation.statistics_of_tests import misfit

PROFILE = ("client_firm", "region", "desk", "role")


@pytest.fixture(scope="module")
def users(busy_day: Simulated) -> pl.DataFrame:
    """Of each user seen, what the messages say and what the truth says, the latter with ``_told``."""
    seen = busy_day.events.group_by("user").agg(pl.col(*PROFILE).unique())
    return seen.join(busy_day.table("users"), on="user", suffix="_told", validate="1:1")


def test_profiles_of_users_are_those_of_the_truth(users: pl.DataFrame) -> None:
    """Firm, region, desk and role: one for each user, the same in each message."""
    assert users.height >= 4_500
    for name in PROFILE:
        assert users[name].list.len().max() == 1
        assert users[name].list.first().equals(users[f"{name}_told"])
    assert set(users["region_told"]) == {"americas"}


def test_firms_follow_zipf(users: pl.DataFrame) -> None:
    """40 firms; the nth largest has n to the power of -0.9 times as many users as the largest."""
    observed = users.group_by(pl.col("client_firm").list.first()).len().sort("len", descending=True)["len"].to_numpy()
    assert len(observed) == 40
    slope, _ = np.polyfit(np.log(np.arange(1, 16)), np.log(observed[:15]), 1)
    assert slope == pytest.approx(-0.9, abs=0.12)
    expected = np.arange(1, 41) ** -0.9
    expected *= observed.sum() / expected.sum()
    assert misfit(observed.astype(float), expected, expected) <= 1.6


def test_a_desk_has_one_asset_class_and_a_like_share_of_users(users: pl.DataFrame) -> None:
    desks = users.group_by("desk_told").agg(pl.col("asset_class").unique(), pl.len())
    assert desks.height == 7
    assert desks["asset_class"].list.len().max() == 1
    assert set(desks["asset_class"].list.first()) == {"equity", "fixed_income", "fx", "commodity"}
    assert desks["len"].to_numpy() / users.height == pytest.approx([1 / 7] * 7, abs=0.025)


def test_roles_go_with_the_persona(users: pl.DataFrame, busy_day: Simulated) -> None:
    """In 85 of 100 users (± 3)."""
    role_of = {persona["name"]: persona["role"] for persona in busy_day.world["personas"]}
    own = users["persona_first"].replace_strict(role_of) == users["role"].list.first()
    assert own.mean() == pytest.approx(0.85, abs=0.03)


def test_personas_have_their_shares_of_users(busy_day: Simulated) -> None:
    truth = busy_day.table("users")
    for persona in busy_day.world["personas"]:
        assert (truth["persona_first"] == persona["name"]).mean() == pytest.approx(persona["share"], abs=0.02)


def test_users_are_as_active_as_the_truth_says(busy_day: Simulated) -> None:
    """User sessions of each are Poisson by persona and activity (misfit 1 ± 0.1); its log-deviation is 0.4."""
    rates = pl.DataFrame(busy_day.world["personas"]).select(persona="name", rate="user_sessions_per_day")
    counts = first_events(busy_day).group_by("user").agg(n=pl.len())
    users = busy_day.table("users").join(busy_day.of_day("users").filter("present"), on="user")
    users = users.join(rates, on="persona").join(counts, on="user", how="left").fill_null(0)
    observed, rate, activity = (users[name].to_numpy().astype(float) for name in ("n", "rate", "activity"))

    def against(expected: np.ndarray) -> float:
        expected = expected * observed.sum() / expected.sum()
        return misfit(observed, expected, expected, least=0.5)

    assert against(rate * activity) == pytest.approx(1, abs=0.1)
    assert against(rate) > 1.3
    assert np.log(activity).std() == pytest.approx(0.4, abs=0.02)


def test_costs_of_mini_apps_are_the_planted_ones_and_spread(busy_day: Simulated) -> None:
    """Median latency and payload of openings: within 10 % for each mini-app; the planted ones spread by 0.8 exactly."""
    apps = busy_day.table("mini_apps")
    assert (apps.height, apps["family"].n_unique()) == (60, 8)
    for name in ("latency_ms", "payload_bytes", "preload_cost_ms"):
        assert np.log(apps[name].to_numpy()).std() == pytest.approx(0.8)
    opened = busy_day.events.filter(pl.col("action") == "open")
    seen = opened.group_by("mini_app").agg(
        pl.col("latency_ms").cast(pl.Float64).median(), pl.col("payload_bytes").median(), pl.len()
    )
    assert seen.height == 60
    often = seen.filter(pl.col("len") >= 500).join(apps, on="mini_app", suffix="_told")
    assert often.height >= 50
    for name in ("latency_ms", "payload_bytes"):
        assert often[name].to_numpy() == pytest.approx(often[f"{name}_told"].to_numpy(), rel=0.1)
        assert np.log(often[name].to_numpy()).std() >= 0.5


def test_screens_tell_the_family(busy_day: Simulated) -> None:
    family, app = pl.col("screen").str.split("/").list.first(), pl.col("screen").str.split("/").list.last()
    screens = busy_day.events.select("mini_app", family=family, app=app).unique().filter(pl.col("family") != "popup")
    assert screens["app"].equals(screens["mini_app"])
    told = busy_day.table("mini_apps").select("mini_app", "family").sort("mini_app")
    assert screens.select("mini_app", "family").sort("mini_app").equals(told)
