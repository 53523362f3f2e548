"""A plan is judged by what it answers: as look-ups do, at each moment of a day, whoever asks with whatever in hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import FactoredModel, learn_from_sessions
from usage_analytics.models.branching.sessions.session_file import write_sessions
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, NOTHING_KNOWN, read_sessions
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.decisions.moments import KnownMoments
from usage_analytics.serving.decisions.session_moments import known_moments
from usage_analytics.serving.judging import served_plan
from usage_analytics.serving.judging.policies import ExpectedValue
from usage_analytics.serving.judging.replay import Outcome, replay
from usage_analytics.serving.judging.served_plan import AS_SERVED, AT_PRICE_1, replay_file
from usage_analytics.serving.plan.filling import tables_of
from usage_analytics.serving.planning import slot_phases
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.trading_calendar import trading_calendar
from usage_analytics_tests.serving.made_up_plans import FACTS
from usage_analytics_tests.serving.small_models import ENTITIES, USERS, with_factors

APPS = tuple(f"app {number:02}" for number in range(40))
BUDGET = Budget(3, 1e6)
USERS_OF_DAY, EVENTS = 60, 30
OPENING_US = int(datetime(2026, 11, 24, 14, tzinfo=UTC).timestamp() * 1e6)  # nine in New York
ALL = 10**9
CALENDAR = trading_calendar()


def economics() -> Economics:
    chance = np.random.default_rng(3)
    saved, cost, size = (np.exp(chance.normal(size=len(APPS)) * 0.6) for _ in range(3))
    return Economics(APPS, 600.0 * saved, 45.0 * cost, 300_000.0 * size)


def write_day(path: Path, seed: int = 1) -> Path:
    """User sessions: every mini-app leads to all others, but to few of them often; and users come back."""
    chance = np.random.default_rng(seed)
    rows = []
    for user in range(USERS_OF_DAY):
        walk = [int(chance.integers(len(APPS)))]
        while len(walk) < EVENTS - user % 7:
            ahead = (7 * walk[-1] + int(chance.zipf(1.4)) % len(APPS)) % len(APPS)
            walk.append(walk[max(0, len(walk) - 4)] if chance.random() < 0.3 else ahead)
        times = OPENING_US + 60_000_000 * user + np.cumsum(chance.integers(1_000, 90_000_000, len(walk)))
        rows.append({
            "trading_day": date(2026, 11, 24), "user_id": USERS[user % 3], "session_number": user, "fold": user % FOLDS,
            "mini_apps": ["never seen" if chance.random() < 0.02 else APPS[app] for app in walk],
            "times_us": times.tolist(),
            "entities": [[None, *ENTITIES, "unknown"][number] for number in chance.integers(0, 4, len(walk))],
            "phases": [CALENDAR.phase_at(datetime.fromtimestamp(time / 1e6, UTC)) for time in times.tolist()],
        })  # fmt: skip
    write_sessions(pl.DataFrame(rows, schema_overrides={"entities": pl.List(pl.String)}), path)
    return path


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_day(tmp_path_factory.mktemp("day") / "sessions.parquet")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_day(tmp_path_factory.mktemp("before") / "sessions.parquet", seed=2)


def counts_of(before: Path) -> NGramModel:
    """Pairs alone are counted, so that the start of the user session, which no plan lists, tells nothing."""
    walks = pq.read_table(before)["mini_apps"].to_pylist()
    pairs = [(*earlier_and_later, 10) for walk in [*walks, APPS, APPS[::-1]] for earlier_and_later in pairwise(walk)]
    counts = pl.DataFrame(pairs, ["prev1", "next", "transitions"], orient="row")
    counts = counts.filter(pl.col("prev1") != "never seen", pl.col("next") != "never seen")
    nothing = pl.lit(None, pl.String)
    return NGramModel.fit(counts.with_columns(nothing.alias("prev2"), nothing.alias("prev3")), max_order=1)


@pytest.fixture(scope="module")
def model(before: Path) -> FactoredModel:
    """Its factors are drawn by chance; those of entities that hardly differ from 1, which no plan lists, are 1."""
    drawn = with_factors(counts_of(before), seed=5)
    entities = np.where(np.abs(drawn.factors.entities - 1.0) < 0.03, np.float32(1.0), drawn.factors.entities)
    return FactoredModel(drawn.counts, replace(drawn.factors, entities=entities), drawn.known)


@pytest.fixture(scope="module")
def learned(before: Path) -> FactoredModel:
    counts = counts_of(before)
    factors = learn_from_sessions(counts, read_sessions([before], counts.mini_apps, range(FOLDS)), 0, 0)
    return FactoredModel(counts, factors, NOTHING_KNOWN)


def plan_of(model: FactoredModel, entries: int, prices: np.ndarray | None = None) -> PreloadPlan:
    contexts = [(), *((app,) for app in model.mini_apps)]
    facts = replace(FACTS, budget=BUDGET)
    of_slots = np.ones(36) if prices is None else prices, slot_phases(CALENDAR, date(2026, 11, 23))
    tables = tables_of(model, contexts, economics(), facts, *of_slots, entries)
    return PreloadPlan(tables, "a plan")


def expected_by(model: FactoredModel, day: Path) -> KnownMoments:
    return known_moments(model, read_sessions([day], model.mini_apps, range(FOLDS), model.known))


def decided_by(model: FactoredModel, day: Path) -> Outcome:
    """What the model would have decided, with all that it knows."""
    return replay(ExpectedValue(economics(), BUDGET), expected_by(model, day), economics(), BUDGET)


def test_a_plan_that_lists_all_brings_what_its_model_does(model: FactoredModel, day: Path) -> None:
    assert model.mini_apps == APPS
    served = replay_file(plan_of(model, len(APPS)), day, economics(), ALL)[AT_PRICE_1]
    decided = decided_by(model, day)
    assert decided.transitions == sum(EVENTS - user % 7 - 1 for user in range(USERS_OF_DAY))
    assert decided.calls > decided.transitions / 2 and decided.hits > 100
    assert served == decided


def test_a_plan_of_the_ten_likeliest_brings_measurably_but_little_less(learned: FactoredModel, day: Path) -> None:
    """What it does not list, and would have been come back to, it misses."""
    served = replay_file(plan_of(learned, 10), day, economics(), ALL)[AT_PRICE_1]
    decided = decided_by(learned, day)
    assert served.transitions == decided.transitions and served.waiting_ms == decided.waiting_ms
    assert served.calls != decided.calls
    net = served.net_ms_per_transition / decided.net_ms_per_transition
    assert 0.8 < net < 0.999


@pytest.mark.parametrize("prices", [np.ones(36), np.repeat([1.0, 3.0, 1.5, 1.0, 1.0, 1.0], 6)])
def test_it_is_asked_as_look_ups_are(model: FactoredModel, day: Path, prices: np.ndarray) -> None:
    """One by one: each moment by name, pseudonym and time."""
    plan = plan_of(model, 10, prices)
    found = replay_file(plan, day, economics(), ALL)
    for way, asked in ((AT_PRICE_1, plan_of(model, 10)), (AS_SERVED, plan)):
        calls, hits, cost = 0, 0, 0.0
        for row in pq.read_table(day).to_pylist():
            for place in range(1, len(row["mini_apps"])):
                at = datetime.fromtimestamp(row["times_us"][place - 1] / 1e6, UTC)
                context, entity = row["mini_apps"][:place], row["entities"][place - 1]
                answer = asked.next(row["user_id"], [None, *context], at=at, entity=entity)
                calls += len(answer.items)
                hits += row["mini_apps"][place] in [item.mini_app for item in answer.items]
                cost += sum(item.cost_ms for item in answer.items) * answer.price
        assert (found[way].calls, found[way].hits) == (calls, hits)
        assert found[way].cost_ms == pytest.approx(cost)
    assert (found[AT_PRICE_1] == found[AS_SERVED]) == bool((prices == 1.0).all())


def test_the_pieces_that_it_is_asked_in_make_no_difference(
    model: FactoredModel, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than some moments and codes are held at once; of a shortened day, the first moments count."""
    plan = plan_of(model, 10)
    whole = replay_file(plan, day, economics(), ALL)[AT_PRICE_1]
    monkeypatch.setattr(served_plan, "MOMENTS_AT_ONCE", 100)
    pieces = replay_file(plan, day, economics(), ALL)[AT_PRICE_1]
    monkeypatch.setattr(served_plan, "MOST_CODES", 1_000)
    smaller = replay_file(plan, day, economics(), ALL)[AT_PRICE_1]
    for outcome in (pieces, smaller):
        assert (outcome.calls, outcome.hits) == (whole.calls, whole.hits)
        assert outcome.saved_ms == pytest.approx(whole.saved_ms)
    some = replay_file(plan, day, economics(), 777)[AT_PRICE_1]
    first = expected_by(model, day).part(0, 777)
    assert (some.transitions, some.opened) == (777, first.stakes(economics()).opened.sum())
