"""What was planted is in the messages: each test reads them alone, finds it, and compares with the truth."""

from datetime import date
from functools import cache

import numpy as np
import polars as pl
import pytest
from simulation.simulated import DAY, Messages, app_shares, messages, scenario
from simulation.statistics_of_tests import (
    adjusted_rand_index,
    best_parents,
    lagged_correlations,
    misfit,
    mixture_of_multinomials,
)

from usage_analytics.simulation.catalogue import (
    ADOPTED,
    ASSET_CLASSES,
    CHURNED,
    DAILY_NETWORK,
    LEAD_LAGS,
    MINI_APPS,
    PERSONAS,
    WALKED,
    LeadLag,
)
from usage_analytics.simulation.errands import ADOPTED_USE, CHURNED_USE
from usage_analytics.simulation.events import app_traits
from usage_analytics.simulation.market_day import MINUTE_US, SPIKE_FACTOR, SPIKE_MINUTES, market_day
from usage_analytics.simulation.navigation import START, navigation
from usage_analytics.simulation.population import ADOPTERS, ADOPTION_MIDDLE, ADOPTION_PACE, CHURN_DAYS, population
from usage_analytics.simulation.scenario import Scenario, Trouble, trading_days

SPIKES = Trouble(0, 0, 0, 0, 0, 0, 0, 0, spikes_per_day=2, schema_change=False)
WEEKS = trading_days(("XNYS",), date(2026, 9, 21), date(2026, 11, 20))


@cache
def busy_day() -> Messages:
    return messages(busy_scenario())


def busy_scenario() -> Scenario:
    return scenario(users=6_000, messages_per_day=480_000, trouble=SPIKES)


@cache
def long_story() -> Messages:
    return messages(story_scenario())


def story_scenario() -> Scenario:
    return scenario(*WEEKS, users=1_000, messages_per_day=16_000, story_start=WEEKS[0], lanes=1)


def persona_of_users(chosen: Scenario, day: date = DAY) -> pl.DataFrame:
    everyone = population(chosen)
    names = [f"u{user:07d}" for user in range(len(everyone))]
    return pl.DataFrame({"user": names, "persona": everyone.persona(day)})


def test_personas_are_found_and_their_mix() -> None:
    """Users fall into the planted personas (adjusted Rand index ≥ 0.9), and each has its share (± 0.02)."""
    users, _, counts = app_shares(busy_day().walked)
    enough = counts.sum(axis=1) >= 30
    labels, shares = mixture_of_multinomials(counts[enough], len(PERSONAS), seed=1)
    truth = persona_of_users(busy_scenario()).sort("user")
    planted = truth.filter(pl.col("user").is_in(np.array(users)[enough].tolist()))["persona"].to_numpy()
    assert adjusted_rand_index(labels, planted) >= 0.9
    expected = np.bincount(planted, minlength=len(PERSONAS)) / len(planted)
    assert np.abs(np.sort(shares) - np.sort(expected)).max() <= 0.02
    everybody = np.bincount(truth["persona"].to_numpy()) / truth.height
    assert np.abs(everybody - [p.share for p in PERSONAS]).max() <= 0.02


def steps(walked: pl.DataFrame) -> pl.DataFrame:
    """Each walk's triples of mini-apps as positions; `START` before its beginning."""
    order = {app: position for position, app in enumerate(WALKED)}
    step = pl.col("mini_app").replace_strict(order, return_dtype=pl.Int64)
    before = [step.shift(n).over("user_session") for n in (2, 1)]
    return walked.with_columns(next=step, before_last=before[0].fill_null(START), last=before[1])


def test_transitions_are_the_planted_ones() -> None:
    """Counts of triples differ from the planted second-order matrices by chance alone (misfit 1 ± 0.05)."""
    walks = steps(busy_day().walked).drop_nulls("last").join(persona_of_users(busy_scenario()), on="user")
    classes = pl.DataFrame({"asset_class": ASSET_CLASSES, "class": range(len(ASSET_CLASSES))})
    walks = walks.join(classes, on="asset_class")
    planted = navigation(7).transitions
    observed = np.zeros(planted.shape)
    np.add.at(observed, tuple(walks.select("persona", "class", "before_last", "last", "next").to_numpy().T), 1)
    visits = observed.sum(axis=-1, keepdims=True)

    def against(matrices: np.ndarray) -> float:
        return misfit(observed, visits * matrices, visits * matrices * (1 - matrices))

    assert against(planted) == pytest.approx(1, abs=0.05)
    # The same test sees a difference where there is one: matrices of the first order only, and another asset class.
    flat = np.broadcast_to(planted[:, :, START][:, :, None], planted.shape)
    assert against(flat) > 2
    assert against(np.roll(planted, 1, axis=1)) > 1.5


def test_the_transition_matrix_is_recovered() -> None:
    """For each persona, next mini-apps after the often seen pairs are within 0.09 (total variation, on average)."""
    walks = steps(busy_day().walked).drop_nulls("last").join(persona_of_users(busy_scenario()), on="user")
    planted = navigation(7).transitions
    context = ["persona", "asset_class", "before_last", "last"]
    often = walks.group_by(context).len("visits").filter(pl.col("visits") >= 400)
    counted = walks.group_by(*context, "next").len("n").join(often, on=context)
    assert often.height >= 30
    distances = []
    for (persona, asset_class, before_last, last, visits), rows in counted.group_by(*context, "visits"):
        found = np.zeros(len(WALKED))
        found[rows["next"].to_numpy()] = rows["n"].to_numpy() / visits
        distances.append(
            np.abs(found - planted[persona, ASSET_CLASSES.index(asset_class), before_last, last]).sum() / 2
        )
    assert np.mean(distances) <= 0.09


def test_dwell_times_are_the_planted_ones() -> None:
    """Median seconds until the next action: within 10 % for each persona and often used mini-app."""
    walked = busy_day().walked.join(persona_of_users(busy_scenario()), on="user")
    gaps = walked.with_columns(gap=pl.col("time_us").shift(-1).over("user_session") - pl.col("time_us")).drop_nulls(
        "gap"
    )
    medians = (
        gaps.group_by("persona", "mini_app").agg(pl.col("gap").median() / 1e6, pl.len()).filter(pl.col("len") > 2_000)
    )
    assert medians.height >= 30
    planted = navigation(7).dwell_s
    for persona, app, gap, _ in medians.iter_rows():
        assert gap == pytest.approx(planted[persona, WALKED.index(app)], rel=0.1)


def first_events(found: Messages) -> pl.DataFrame:
    return found.walked.group_by("user_session", maintain_order=True).first()


def test_the_intensity_curve_is_the_planted_one() -> None:
    """Starts of user sessions in each minute differ from the curve by chance alone; a spike is five times it."""
    chosen = busy_scenario()
    [exchange] = market_day(chosen, DAY).exchanges
    minutes = first_events(busy_day())["time_us"].to_numpy() // MINUTE_US - exchange.first_minute
    observed = np.bincount(minutes, minlength=len(exchange.starts)).astype(float)
    expected = exchange.starts / exchange.starts.sum() * observed.sum()
    assert misfit(observed, expected, expected) == pytest.approx(1, abs=0.2)
    even = np.full(len(observed), observed.mean())
    assert misfit(observed, even, even) > 5
    for spike in (e for e in market_day(chosen, DAY).episodes if e.kind == "news_spike"):
        low = spike.start_us // MINUTE_US - exchange.first_minute
        around = (
            observed[low - SPIKE_MINUTES : low].mean() + observed[low + SPIKE_MINUTES : low + 2 * SPIKE_MINUTES].mean()
        )
        assert observed[low : low + SPIKE_MINUTES].mean() / (around / 2) == pytest.approx(SPIKE_FACTOR, rel=0.2)


def test_the_daily_network_is_found() -> None:
    """Every arc, and no other, by the information criterion; base rates within 0.03."""
    events = busy_day().events
    seen = events.select("user", "mini_app").unique()
    present = sorted(set(events["user"]))
    tools = list(DAILY_NETWORK)
    users_of = {tool: set(seen.filter(pl.col("mini_app") == tool)["user"]) for tool in tools}
    used = np.array([[user in users_of[tool] for tool in tools] for user in present])
    found = {tools[node]: {tools[parent] for parent in best_parents(used, node)} for node in range(len(tools))}
    assert found == {tool: set(parents) for tool, (_, parents) in DAILY_NETWORK.items()}
    for tool, (rate, parents) in DAILY_NETWORK.items():
        alone = ~np.any(used[:, [tools.index(parent) for parent in parents]], axis=1)
        assert used[alone, tools.index(tool)].mean() == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize("pair", LEAD_LAGS, ids=lambda pair: f"{pair.leader}-{pair.follower}")
def test_lead_and_lag_are_found(pair: LeadLag) -> None:
    """The follower is busy at the planted lag after the leader, and more so than any mini-app that does not follow."""
    busy = unusual_by_minute()
    correlations = lagged_correlations(busy[pair.leader], busy[pair.follower], most=12)
    assert int(correlations.argmax()) == pair.minutes
    named = {name for each in LEAD_LAGS for name in (each.leader, each.follower)}
    placebo = [lagged_correlations(busy[pair.leader], busy[app], most=12).max() for app in WALKED if app not in named]
    assert correlations.max() > 1.5 * max(placebo)


@cache
def unusual_by_minute() -> dict[str, np.ndarray]:
    """How far each mini-app's openings in each minute are from its share of all: the shape of the day drops out."""
    [exchange] = market_day(busy_scenario(), DAY).exchanges
    opened = busy_day().events.filter(pl.col("action") == "open")
    at = opened["time_us"].to_numpy() // MINUTE_US - exchange.first_minute
    during = (at >= 0) & (at < len(exchange.starts))
    everything = np.bincount(at[during], minlength=len(exchange.starts)) + 1.0
    here = {app: at[during & (opened["mini_app"] == app).to_numpy()] for app in WALKED}
    counts = {app: np.bincount(minutes, minlength=len(everything)) for app, minutes in here.items()}
    usual = {app: everything * count.sum() / everything.sum() for app, count in counts.items()}
    return {app: (count - usual[app]) / np.sqrt(usual[app]) for app, count in counts.items()}


def test_costs_of_mini_apps_are_the_planted_ones_and_spread() -> None:
    """Median latency and payload of openings: within 8 % for each mini-app; log-standard-deviation ≥ 0.5 over them."""
    opened = busy_day().events.filter(pl.col("action") == "open")
    latency, payload = pl.col("latency_ms").cast(pl.Float64).median(), pl.col("payload_bytes").median()
    medians = opened.group_by("mini_app").agg(latency, payload, pl.len()).filter(pl.col("len") >= 500)
    assert medians.height >= 50
    traits = app_traits(7, 0.8)
    for app, latency, payload, _ in medians.iter_rows():
        assert latency == pytest.approx(traits.latency_ms[MINI_APPS.index(app)], rel=0.08)
        assert payload == pytest.approx(traits.payload_bytes[MINI_APPS.index(app)], rel=0.08)
    assert np.log(medians["latency_ms"].to_numpy()).std() >= 0.5
    assert np.log(medians["payload_bytes"].to_numpy()).std() >= 0.5


def users_by_day(app: str) -> np.ndarray:
    """Share of those who worked on each day of the story who used a mini-app then."""
    days = pl.col("time_us").cast(pl.Datetime("us", "UTC")).dt.convert_time_zone("America/New_York").dt.date()
    events = long_story().events.with_columns(day=days)
    used = events.filter(pl.col("mini_app") == app).group_by("day").agg(n=pl.col("user").n_unique())
    present = events.group_by("day").agg(all=pl.col("user").n_unique())
    joined = present.join(used, on="day", how="left").sort("day").fill_null(0)
    return (joined["n"] / joined["all"]).to_numpy()


def test_adoption_grows_and_churn_decays_as_planted() -> None:
    """Daily shares of users follow the logistic and the exponential curve (root mean square error ≤ 0.03)."""
    story = np.array([(day - WEEKS[0]).days for day in WEEKS])
    adopted = ADOPTERS * ADOPTED_USE / (1 + np.exp(-(story - ADOPTION_MIDDLE) / ADOPTION_PACE))
    churned = CHURNED_USE * np.exp(-story / CHURN_DAYS)
    assert np.sqrt(np.mean((users_by_day(ADOPTED) - adopted) ** 2)) <= 0.03
    assert np.sqrt(np.mean((users_by_day(CHURNED) - churned) ** 2)) <= 0.03
    assert users_by_day(ADOPTED)[-5:].mean() > 5 * users_by_day(ADOPTED)[:5].mean()


def test_users_drift_between_personas() -> None:
    """Those whose way of working changes between the first and the last two weeks are the planted ones."""
    everyone, events = population(story_scenario()), long_story().walked
    halves = [events.filter(pl.col("time_us") < us(WEEKS[10])), events.filter(pl.col("time_us") >= us(WEEKS[-10]))]
    ends = [everyone.persona(day) for day in (WEEKS[0], WEEKS[10], WEEKS[-10], WEEKS[-1])]
    steady = (ends[0] == ends[1]) & (ends[2] == ends[3])  # within each half
    moved = ends[0] != ends[3]
    both = [app_shares(half) for half in halves]
    users = sorted(set(both[0][0]) & set(both[1][0]))
    stacked = np.vstack([counts[[names.index(user) for user in users]] for names, _, counts in both])
    labels, _ = mixture_of_multinomials(stacked, len(PERSONAS), seed=2)
    changed = labels[: len(users)] != labels[len(users) :]
    numbers = [int(user[1:]) for user in users]
    planted, sure = moved[numbers], steady[numbers]
    assert planted[sure].sum() >= 20
    assert (changed == planted)[sure].mean() >= 0.95
    assert changed[sure & planted].mean() >= 0.9


def us(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 24 * 60 * MINUTE_US
