"""What a model should find is in the messages: each test reads them alone, finds it, and compares with the truth."""

import numpy as np
import polars as pl
import pytest
from simulation.simulated import WEEKS, Simulated, users_seen
from simulation.statistics_of_tests import (
    adjusted_rand_index,
    best_parents,
    lagged_correlations,
    logistic_regression,
    mixture_of_multinomials,
)

from usage_analytics.simulation.catalogue import LEAD_LAGS, LeadLag
from usage_analytics.simulation.market_day import MINUTE_US

MORE_OFTEN_THAN_BY_CHANCE = 1.5
SHORTEST_LAG = min(pair.minutes for pair in LEAD_LAGS)


def app_shares(walked: pl.DataFrame, apps: list[str]) -> tuple[list[str], np.ndarray]:
    """Users, and how often each used each mini-app."""
    counts = walked.filter(pl.col("mini_app").is_in(apps))
    counts = counts.pivot(on="mini_app", on_columns=apps, index="user", values="event_id", aggregate_function="len")
    counts = counts.fill_null(0).sort("user")
    return counts["user"].to_list(), counts.select(apps).to_numpy().astype(float)


def of_all_classes(walked: pl.DataFrame) -> list[str]:
    """Mini-apps used about as much whatever the asset class; by the others one would tell desks, not personas."""
    counts = walked.pivot(on="asset_class", index="mini_app", values="event_id", aggregate_function="len").fill_null(0)
    shares = counts.drop("mini_app").to_numpy() + 1.0
    shares /= shares.sum(axis=0)
    return sorted(counts["mini_app"].to_numpy()[shares.max(axis=1) < 5 * shares.min(axis=1)])


def test_personas_are_found_and_their_shares(busy_day: Simulated) -> None:
    """Users fall into the planted personas (adjusted Rand index ≥ 0.95), and each has its share (± 0.02)."""
    users, counts = app_shares(busy_day.walked, of_all_classes(busy_day.walked))
    enough = counts.sum(axis=1) >= 25
    labels, shares = mixture_of_multinomials(counts[enough], len(busy_day.personas), seed=1)
    truth = dict(busy_day.persona_of_users().iter_rows())
    planted = [truth[user] for user in np.array(users)[enough]]
    assert adjusted_rand_index(labels, planted) >= 0.95
    expected = [planted.count(persona) / len(planted) for persona in busy_day.personas]
    assert np.sort(shares) == pytest.approx(np.sort(expected), abs=0.02)


def test_users_drift_between_personas(long_story: Simulated) -> None:
    """Those whose way of working changes between the first and the last weeks are the planted ones (95 of 100)."""
    days = (WEEKS[0], WEEKS[4], WEEKS[-5], WEEKS[-1])
    parts = [long_story.persona_of_users(day).rename({"persona": str(n)}) for n, day in enumerate(days)]
    truth = pl.concat(parts, how="align").with_columns(
        steady=(pl.col("0") == pl.col("1")) & (pl.col("2") == pl.col("3")), moved=pl.col("0") != pl.col("3")
    )
    date_of = pl.from_epoch("time_us", "us").dt.date()
    walked, apps = long_story.walked, of_all_classes(long_story.walked)
    (users, early), (others, late) = (
        app_shares(walked.filter(when), apps) for when in (date_of <= days[1], date_of >= days[2])
    )
    labels, _ = mixture_of_multinomials(np.vstack([early, late]), len(long_story.personas), seed=2)
    before, after = dict(zip(users, labels, strict=False)), dict(zip(others, labels[len(users) :], strict=True))
    known = truth.filter("steady", pl.col("user").is_in(sorted(set(users) & set(others))))
    changed = np.array([before[user] != after[user] for user in known["user"]])
    planted = known["moved"].to_numpy()
    assert planted.sum() >= 15
    assert (changed == planted).mean() >= 0.95
    assert changed[planted].mean() >= 0.9


def test_the_daily_network_is_found(busy_day: Simulated) -> None:
    """Every arc, and no other, by the information criterion; base rates within 0.03, log-odds within 4 errors."""
    network = busy_day.world["daily_network"]
    tools, seen = list(network), sorted(set(busy_day.events["user"]))
    users_of = {tool: users_seen(busy_day.events, tool) for tool in tools}
    used = np.array([[user in users_of[tool] for tool in tools] for user in seen])
    found = {tools[node]: {tools[parent] for parent in best_parents(used, node)} for node in range(len(tools))}
    assert found == {tool: set(plan["log_odds_of_parents"]) for tool, plan in network.items()}
    assert sum(len(parents) for parents in found.values()) == 12
    for tool, plan in network.items():
        places = [tools.index(parent) for parent in plan["log_odds_of_parents"]]
        coefficients, errors = logistic_regression(used[:, places], used[:, tools.index(tool)])
        assert 1 / (1 + np.exp(-coefficients[0])) == pytest.approx(plan["rate"], abs=0.03)
        assert np.all(np.abs(coefficients[1:] - list(plan["log_odds_of_parents"].values())) <= 4 * errors[1:])


def test_the_tools_that_were_used_are_those_of_the_truth(busy_day: Simulated) -> None:
    """Of every user and tool, without exception; who is not present does nothing, who is present nearly always does."""
    truth = busy_day.of_day("users")
    tools = [name for name in truth.columns if name not in ("user", "persona", "present")]
    assert len(tools) == 14
    for tool in tools:
        assert set(truth.filter(pl.col(tool))["user"]) == users_seen(busy_day.events, tool)
    seen, present = set(busy_day.events["user"]), set(truth.filter("present")["user"])
    assert seen <= present
    assert len(seen) >= 0.98 * len(present)
    assert truth["present"].mean() == pytest.approx(0.85, abs=0.02)


@pytest.mark.parametrize("pair", LEAD_LAGS, ids=lambda pair: f"{pair.leader}-{pair.follower}")
def test_lead_and_lag_are_found(pair: LeadLag, busy_day: Simulated, unusual_by_minute: dict[str, np.ndarray]) -> None:
    """The follower is busy at the planted lag after the leader, and more so than any mini-app that does not follow.

    Beside those of shorter lags: where walks often lead on from the leader, both are busy in the same minutes.
    """
    [planted] = [each for each in busy_day.world["lead_lag"] if each["leader"] == pair.leader]
    busy = unusual_by_minute
    correlations = lagged_correlations(busy[pair.leader], busy[planted["follower"]], most=12)
    assert int(correlations.argmax()) == planted["minutes"]
    named = {each[end] for each in busy_day.world["lead_lag"] for end in ("leader", "follower")}
    others = [lagged_correlations(busy[pair.leader], busy[app], most=12) for app in busy if app not in named]
    placebo = [each[SHORTEST_LAG:].max() for each in others]
    assert correlations.max() > MORE_OFTEN_THAN_BY_CHANCE * max(placebo)


@pytest.fixture(scope="module")
def unusual_by_minute(busy_day: Simulated) -> dict[str, np.ndarray]:
    """How far each mini-app's openings in each minute are from its share of all: the shape of the day drops out."""
    minutes = np.unique(busy_day.of_day("expected")["minute_us"].to_numpy())
    opened = busy_day.events.filter(pl.col("action") == "open")
    at = (opened["time_us"].to_numpy() - minutes[0]) // MINUTE_US
    during = (at >= 0) & (at < len(minutes))
    everything = np.bincount(at[during], minlength=len(minutes)) + 1.0
    apps = sorted(set(busy_day.walked["mini_app"]))
    here = {app: at[during & (opened["mini_app"] == app).to_numpy()] for app in apps}
    counts = {app: np.bincount(minutes_, minlength=len(everything)) for app, minutes_ in here.items()}
    usual = {app: everything * count.sum() / everything.sum() for app, count in counts.items()}
    return {app: (count - usual[app]) / np.sqrt(usual[app]) for app, count in counts.items()}
