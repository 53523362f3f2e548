"""The plan of a trading day: costs and prices that were measured, the same in the warehouse and in the file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from closing import refresh
from fakes import TOPIC, enriched_chunk

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.challengers.choice import Choice
from usage_analytics.models.branching.context_base import ContextBase
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.training import MODEL, train
from usage_analytics.reporting.plan_evidence import prices_of
from usage_analytics.serving.decisions.learned_economics import economics_of, equal_economics
from usage_analytics.serving.judging.plan_comparison import compare_on
from usage_analytics.serving.plan.chosen_base import keep_choice
from usage_analytics.serving.plan.scope import BUDGET, contexts_of
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.planning import make_plan, slot_phases
from usage_analytics.trading_calendar import PHASES, TradingClock, trading_calendar
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.models.branching.two_kinds_of_users import (
    APPS,
    AT_OPEN,
    DAYS,
    LEADING,
    events_of,
    load_days,
    load_events,
    user_id,
    with_an_open,
)

DAY, MADE_AT = DAYS[1], datetime(2026, 11, 23, 23, tzinfo=UTC)


@pytest.fixture
def layout(warehouse: DuckDBWarehouse, memory_path: Path, tmp_path: Path) -> Layout:
    """Where the models of two trading days lie."""
    load_days(warehouse, memory_path)
    layout = Layout(tmp_path / "lake", "clicks")
    for day in DAYS:
        train(warehouse, layout, day)
    return layout


def test_the_plan_of_a_day_is_one_in_the_warehouse_and_in_the_file(
    warehouse: DuckDBWarehouse, layout: Layout, tmp_path: Path
) -> None:
    made = make_plan(warehouse, layout, DAY, trading_calendar(), MADE_AT)
    facts = made.tables.facts
    assert (facts.trading_day, facts.created_at, facts.slot_minutes, facts.budget) == (DAY, MADE_AT, 15, BUDGET)
    plans = PlanFolder(tmp_path / "plans")
    plans.publish(made.tables)
    for context, rows in made.rows.group_by("context"):
        asked = [name for name in str(context[0]).split(" > ") if name]
        answer = plans.current().next(None, asked)
        assert list(answer.context) == asked
        assert answer.transitions == rows["transitions"][0]
        costs = {name: cost for name, cost in rows.select("mini_app", "cost_ms").rows() if name}
        assert costs.items() <= dict(zip(made.economics.mini_apps, made.economics.cost_ms, strict=True)).items()


def test_users_of_two_kinds_get_two_answers(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    """What a kind of users likes is preloaded for it, and what is in hand counts."""
    made = make_plan(warehouse, layout, DAY, trading_calendar(), MADE_AT)
    plan = PlanFolder(layout.root / "plans")
    plan.publish(made.tables)
    odd, even = (
        {item.mini_app: item.user_factor for item in plan.current().next(user_id(user), ["quotes", "mail"]).items}
        for user in (3, 4)
    )
    assert odd.keys() != even.keys()
    for kind, liked in ((odd, 1), (even, 0)):
        most = max(kind, key=kind.__getitem__)
        assert kind[most] > 1.2 and APPS.index(most) % 2 == liked
    answer = plan.current().next(None, ["quotes", "mail"], entity=LEADING)
    assert answer.known_entity and max(item.led for item in answer.items) > 0.1


def always_chat(model: FactoredModel) -> ContextBase:
    contexts = model.counts.encode(contexts_of(model.counts, 3))
    row = np.where(np.array(model.mini_apps) == "chat", 0.93, 0.01)
    return ContextBase(contexts, np.tile(row.astype(np.float32), (len(contexts), 1)))


def test_what_a_contest_has_chosen_is_what_the_plan_expects(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    before = make_plan(warehouse, layout, DAY, trading_calendar(), MADE_AT)
    assert before.tables.facts.probabilities_of == "counts: no contest was held"
    assert before.tables.facts.transitions == FactoredModel.load(layout.model(MODEL, DAY)).counts.transitions
    model = FactoredModel.load(layout.model(MODEL, DAY))
    keep_choice(layout.model(MODEL, DAY), Choice("gru", {"chosen": "gru"}), model.mini_apps, always_chat(model))
    made = make_plan(warehouse, layout, DAY, trading_calendar(), MADE_AT)
    assert made.tables.facts.probabilities_of == "gru, by the contest of 2026-11-23"
    elsewhere = made.rows.filter(~made.rows["context"].str.ends_with("chat"))
    likeliest = elsewhere.sort("probability", descending=True).unique("context", keep="first")
    assert set(likeliest["mini_app"]) == {"chat"} and likeliest["probability"].min() > 0.5


def test_the_day_before_is_judged_by_what_its_plan_had(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    plans = PlanFolder(layout.root / "plans")
    by_counts = compare_on(warehouse, layout, plans, DAY, trading_calendar())
    before = FactoredModel.load(layout.model(MODEL, DAYS[0]))
    keep_choice(layout.model(MODEL, DAYS[0]), Choice("gru", {"chosen": "gru"}), before.mini_apps, always_chat(before))
    by_chat = compare_on(warehouse, layout, plans, DAY, trading_calendar())
    assert by_counts is not None and by_chat is not None
    for policy in ("expected value", "the plan at price 1"):
        assert worth(by_chat, policy) < worth(by_counts, policy)


def worth(compared: pl.DataFrame, policy: str) -> float:
    return float(compared.filter(compared["policy"] == policy)["net_ms_per_transition"].item())


def test_the_plan_that_was_published_is_the_one_that_is_judged(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    """Not what would be made of its model now; where it is damaged or gone, that."""
    plans = PlanFolder(layout.root / "plans")
    made_again = compare_on(warehouse, layout, plans, DAY, trading_calendar())
    made = make_plan(warehouse, layout, DAYS[0], trading_calendar(), MADE_AT)
    nothing_pays = replace(made.tables, saved_ms=np.zeros(len(APPS)))
    name = plans.publish(nothing_pays).name
    judged = compare_on(warehouse, layout, plans, DAY, trading_calendar())
    assert made_again is not None and judged is not None
    assert worth(made_again, "the plan at price 1") > 0.0 and worth(judged, "the plan at price 1") == 0.0
    assert worth(made_again, "expected value") == worth(judged, "expected value")
    (plans.path / f"{name}.plan").unlink()
    (plans.path / f"{name}.plan").write_bytes(b"")
    damaged = compare_on(warehouse, layout, plans, DAY, trading_calendar())
    assert damaged is not None and damaged.equals(made_again)


def test_economics_are_those_that_were_measured(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    """Latencies of 300 ms and more, payloads of 100 kB and more, by mini-app."""
    found = economics_of(warehouse, DAY, APPS)
    assert found.saved_ms == pytest.approx(300.0 + 100 * np.arange(len(APPS)), rel=0.05)
    assert found.payload_bytes == pytest.approx(1e5 * (1 + np.arange(len(APPS))), rel=0.05)
    assert found.untimed == found.unsized == found.unnamed == ()


def test_mini_apps_without_an_action_open_are_measured_by_all_and_told(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    events = [
        {**event, "action": "launch"} if event["mini_app"] in ("chat", "mail") else event
        for event in events_of(DAYS[0], seed=1)
    ]
    load_events(warehouse, memory_path, DAYS[0], 0, events)
    refresh(warehouse, DAYS[0], "friction", "latency_histogram")
    found = economics_of(warehouse, DAYS[0], APPS)
    assert found.unnamed == ("chat", "mail") and found.untimed == ()
    assert found.saved_ms == pytest.approx(300.0 + 100 * np.arange(len(APPS)), rel=0.1)


def test_before_anything_was_measured_all_mini_apps_are_alike(warehouse: DuckDBWarehouse) -> None:
    found = economics_of(warehouse, date(2026, 11, 2), APPS)
    assert found.saved_ms.tolist() == equal_economics(APPS).saved_ms.tolist()


def test_payloads_count_where_no_latency_was_measured(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    """So that the budget of bytes holds."""
    events = [{**event, "latency_ms": None} for event in events_of(DAYS[0], seed=1)]
    window = f"{DAYS[0]}T1000"
    warehouse.load_window(TOPIC, window, [enriched_chunk(memory_path, window, 0, 0, events)])
    refresh(warehouse, DAYS[0], "friction")
    found = economics_of(warehouse, DAYS[0], APPS)
    assert found.payload_bytes == pytest.approx(1e5 * (1 + np.arange(len(APPS))), rel=0.1)
    assert found.saved_ms.tolist() == equal_economics(APPS).saved_ms.tolist() and found.untimed == APPS


def test_prices_rise_where_the_back_end_is_busy(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    """All usage is from ten to past twelve: there preloads have no room; before and after, the usual price holds."""
    made = make_plan(warehouse, layout, DAY, trading_calendar(), MADE_AT)
    assert made.load is not None and len(made.tables.prices) == 36
    assert made.tables.prices[:8].tolist() == [1.0] * 8
    assert made.tables.prices[8:16].max() > 1.0
    assert made.tables.prices[-8:].tolist() == [1.0] * 8


def test_what_users_open_when_it_is_dear_is_fetched_before(
    warehouse: DuckDBWarehouse, memory_path: Path, tmp_path: Path
) -> None:
    """Everybody is there at a quarter past nine; from half past on the back end is full of what each kind opens."""
    load_days(warehouse, memory_path, events=with_an_open)
    layout = Layout(tmp_path / "lake", "clicks")
    for day in DAYS:
        train(warehouse, layout, day)
    made = make_plan(warehouse, layout, DAY, trading_calendar(), MADE_AT)
    assert made.tables.prices[5] == 1.0 < made.tables.prices[6], "half past nine is dear"
    plans = PlanFolder(tmp_path / "plans")
    plans.publish(made.tables)
    at, plan = datetime(2026, 11, 24, 14, 20, tzinfo=UTC), plans.current()
    odd, even, anybody = (plan.prewarm(user, at) for user in (user_id(3), user_id(4), None))
    assert (odd.items[0].mini_app, even.items[0].mini_app) == (AT_OPEN[1], AT_OPEN[0])
    assert odd.known_user and not anybody.known_user and odd.times == ("09:30-09:45",)
    chances = {item.mini_app: item.chance for item in anybody.items}
    assert chances == pytest.approx(dict.fromkeys(AT_OPEN, 60 / 140), abs=1e-6), "half of all, and twenty who do not"
    assert odd.items[0].chance > 0.75
    assert "it is fetched ahead at 09:15-09:30" in str(plan.prewarm(None, MADE_AT).nothing_because)
    told = f"{AT_OPEN[1]} 0.43, {AT_OPEN[0]} 0.43 (at 1.00, for 09:30-09:45)"
    assert f"| 09:15 | 1.00 | 0% | {told} |" in prices_of(made)


def test_slots_are_of_the_phases_of_the_next_trading_day(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    """The exchange opens at 09:30; on the Friday after Thanksgiving, which follows a holiday, it closes at 13:00."""
    calendar = trading_calendar()
    made = make_plan(warehouse, layout, DAY, calendar, MADE_AT)
    usual = [PHASES[phase - 1] for phase in made.tables.slot_phases]
    assert usual == ["pre_open"] * 6 + ["opening"] * 2 + ["midday"] * 22 + ["closing"] * 2 + ["after_close"] * 4
    assert made.tables.facts.holds_on[:3] == (DAY, date(2026, 11, 24), date(2026, 11, 25))
    assert date(2026, 11, 26) not in made.tables.facts.holds_on and len(made.tables.facts.holds_on) == 22
    friday = [PHASES[phase - 1] for phase in slot_phases(calendar, date(2026, 11, 25))]
    assert (friday[17], friday[18], friday[20]) == ("midday", "closing", "after_close")


@pytest.mark.parametrize(
    ("exchange", "zone", "day"),
    [("24/7", "America/New_York", date(2026, 3, 7)), ("XTAE", "Asia/Jerusalem", date(2026, 3, 26))],
)
def test_slots_are_of_local_time_on_the_day_that_clocks_change(exchange: str, zone: str, day: date) -> None:
    """As prices are; the hour that is left out has the phase of what is there instead."""
    clock = TradingClock(exchange=exchange, timezone=zone, opening_hour=0, closing_hour=24)
    assert len(slot_phases(trading_calendar(clock), day)) == clock.windows_per_day == 96


def test_ways_to_decide_are_compared_on_the_day(warehouse: DuckDBWarehouse, layout: Layout) -> None:
    plans = PlanFolder(layout.root / "plans")
    compared = compare_on(warehouse, layout, plans, DAY, trading_calendar())
    assert compared is not None and compared["transitions"].n_unique() == 1
    by_policy = dict(compared.select("policy", "net_ms_per_transition").rows())
    assert by_policy["nothing"] == 0.0
    assert by_policy["expected value"] >= max(by_policy["top 3"], by_policy["Guess.js on 4G"], by_policy["Chromium"])
    # It lists no context that was seen fewer than ten times, and asks a shorter one.
    assert by_policy["the plan at price 1"] == pytest.approx(by_policy["expected value"], rel=0.1)
    assert compared["policy"].is_in(["the plan as served"]).sum() == 1
    assert (
        compare_on(warehouse, layout, plans, DAYS[0], trading_calendar()) is None
    )  # there is no model of a day before


def test_without_a_model_it_is_said_what_to_do(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preload_plan of 2026-11-23: .*; materialize next_action_model first"):
        make_plan(warehouse, Layout(tmp_path, "clicks"), DAY, trading_calendar(), MADE_AT)
