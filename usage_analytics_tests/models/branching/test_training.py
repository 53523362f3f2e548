"""Training from a warehouse: what it learns of users and entities, how it is judged, what it says where it cannot."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from closing import refresh
from fakes import TOPIC, enriched_chunk

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching import training
from usage_analytics.models.branching.factored_model import COUNTS_FILE, FactoredModel
from usage_analytics.models.branching.scoring import score
from usage_analytics.models.branching.sequence_model import CountedSequences
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, read_sessions
from usage_analytics.models.branching.training import SESSIONS, Trained, judge_day, model_before, train
from usage_analytics.reporting.model_evidence import evidence_of
from usage_analytics.trading_calendar import PHASES
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.models.branching.two_kinds_of_users import (
    APPS,
    DAYS,
    EVENTS,
    LEADING,
    LED_TO,
    MARTS,
    USERS,
    events_of,
    load_days,
    load_events,
)

NEXT_DAY = date(2026, 11, 24)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "lake", "clicks")


def test_a_second_day_knows_users_and_what_is_in_hand(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    load_days(warehouse, memory_path)
    first, second = (train(warehouse, layout, day) for day in DAYS)
    assert first.held_out_day is None and len(first.model.known.user_classes.keys) == 0
    model = second.model
    assert len(model.known.user_classes.keys) > 0.95 * USERS
    assert model.known.entities == (LEADING, "EQ-002")
    lead = model.factors.leads[1 + model.known.entities.index(LEADING)]
    assert model.mini_apps[int(np.argmax(lead))] == LED_TO
    path = layout.model("next_action_model", DAYS[1]) / SESSIONS
    ours = score(model, read_sessions([path], model.mini_apps, range(FOLDS), model.known))
    counts = score(CountedSequences(model.counts), read_sessions([path], model.mini_apps, range(FOLDS)))
    assert ours.log_loss < counts.log_loss - 0.05


@pytest.mark.parametrize("news", [6.0, 1.0])
def test_the_time_of_day_tells_where_it_pays(
    news: float, warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    """Half of each user's events are of the opening, when news are opened so many times as often as else."""
    chance, rows = np.random.default_rng(1), events_of(DAYS[0], seed=1)
    for step, row in enumerate(rows):
        weights = np.ones(len(APPS))
        weights[APPS.index("news")] = news if step % EVENTS < EVENTS / 2 else 1.0
        row["mini_app"] = APPS[int(chance.choice(len(APPS), p=weights / weights.sum()))]
        row["phase"] = "opening" if step % EVENTS < EVENTS / 2 - 1 else "midday"
    load_events(warehouse, memory_path, DAYS[0], 0, rows)
    refresh(warehouse, DAYS[0], *MARTS)
    trained = train(warehouse, layout, DAYS[0])
    opening, midday = (
        trained.model.factors.phases[1 + PHASES.index(phase), APPS.index("news")] for phase in ("opening", "midday")
    )
    assert (opening / midday > 2.0) == (news > 1.0)
    assert evidence_of(trained)["time_of_day_pays"] == (news > 1.0)


def test_the_model_of_the_day_before_is_judged_on_the_day(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    load_days(warehouse, memory_path)
    for day in DAYS:
        trained = train(warehouse, layout, day)
    assert trained.held_out_day is not None
    path = layout.model("next_action_model", DAYS[1]) / SESSIONS
    before = model_before(layout, DAYS[1])
    assert before is not None and before.counts.trading_day == DAYS[0]
    again = score(before, read_sessions([path], before.mini_apps, range(FOLDS), before.known))
    assert trained.held_out_day.log_loss == pytest.approx(again.log_loss)


def test_what_only_the_held_out_users_opened_is_unknown_to_those_who_are_judged_by(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    load_days(warehouse, memory_path, DAYS[:1])
    event = next(event for event in events_of(DAYS[0], seed=0) if event["user_id"].startswith("04"))
    alone = [
        {**event, "event_id": f"alone {n}", "event_time_us": event["event_time_us"] + n, "mini_app": "theirs alone"}
        for n in (1, 2, 3)
    ]
    warehouse.load_window(TOPIC, "2026-11-20T1015", [enriched_chunk(memory_path, "2026-11-20T1015", 0, 900_000, alone)])
    refresh(warehouse, DAYS[0], *MARTS)
    trained = train(warehouse, layout, DAYS[0])
    assert trained.held_out_users is not None and trained.held_out_users.unknown_transitions == 3
    assert trained.held_out_users == judge_day(warehouse, DAYS[0])
    assert "theirs alone" in trained.model.mini_apps


def test_what_is_kept_is_what_was_learned(warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout) -> None:
    load_days(warehouse, memory_path)
    trained = [train(warehouse, layout, day) for day in DAYS][-1]
    kept = FactoredModel.load(trained.folder)
    assert kept.known.user_classes.classes.tolist() == trained.model.known.user_classes.classes.tolist()
    np.testing.assert_array_equal(kept.factors.leads, trained.model.factors.leads)


def test_a_broken_model_of_the_day_before_is_passed_over(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    load_days(warehouse, memory_path)
    folder = train(warehouse, layout, DAYS[0]).folder
    (folder / COUNTS_FILE).write_bytes(b"broken")
    assert model_before(layout, DAYS[1]) is None
    assert train(warehouse, layout, DAYS[1]).held_out_day is None


def test_without_transitions_it_is_said(warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout) -> None:
    with pytest.raises(UserError, match="no transitions up to that day, nothing to learn from"):
        train(warehouse, layout, DAYS[0])
    load_days(warehouse, memory_path, DAYS[:1])
    assert train(warehouse, layout, DAYS[0]).model.counts.transitions > 0


def test_a_day_that_has_hardly_begun_unlearns_nothing(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout
) -> None:
    load_days(warehouse, memory_path)
    second = [train(warehouse, layout, day) for day in DAYS][-1].model
    thin = [begin_day(warehouse, memory_path, layout, day) for day in (NEXT_DAY, date(2026, 11, 25))]
    for trained in thin:
        knows_what_was_known(trained.model, second)


def test_many_thin_days_in_a_row_are_believed(warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout) -> None:
    """The bar falls by half with each day that keeps the factors of before; the metadata tells whose they are."""
    load_days(warehouse, memory_path)
    known = [train(warehouse, layout, day) for day in DAYS][-1]
    told = [evidence_of(known)["factors_of"]]
    entities = [known.model.known.entities]
    for day in range(24, 31):
        trained = begin_day(warehouse, memory_path, layout, date(2026, 11, day), events=100)
        told.append(evidence_of(trained)["factors_of"])
        entities.append(trained.model.known.entities)
    # 4,800 events: 480 are the bar of the first day, 240 and 120 those of the next ones, 60 that of the fourth
    assert told[:5] == ["2026-11-23"] * 4 + ["2026-11-27"]
    assert entities[3] == entities[0] and entities[4] == ()


def begin_day(warehouse: DuckDBWarehouse, folder: Path, layout: Layout, day: date, events: int = 1) -> Trained:
    """What is trained on a day that has so few events."""
    rows = [
        {**event, "trading_day": day, "mini_app": "brand new", "event_id": f"{day} {number}", "entity": "NEW"}
        for number, event in enumerate(events_of(DAYS[1], seed=9)[:events])
    ]
    load_events(warehouse, folder, day, 900_000 + 1_000 * day.day, rows)
    refresh(warehouse, day, *MARTS)
    return train(warehouse, layout, day)


def knows_what_was_known(third: FactoredModel, second: FactoredModel) -> None:
    assert "brand new" in third.mini_apps
    assert third.known.entities == second.known.entities
    places = [third.mini_apps.index(name) for name in second.mini_apps]
    for name in ("leads", "classes", "entities", "phases", "revisits"):
        np.testing.assert_array_equal(getattr(third.factors, name)[:, places], getattr(second.factors, name))
    for row, app in enumerate(second.mini_apps, start=1):
        held = third.factors.after[1 + third.mini_apps.index(app), places]
        np.testing.assert_array_equal(held, second.factors.after[row])
    assert (second.factors.after != 1.0).any()
    assert third.factors.classes[:, third.mini_apps.index("brand new")].tolist() == [1.0] * len(third.factors.classes)


def test_a_day_without_marts_is_refused(warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout) -> None:
    load_days(warehouse, memory_path)
    with pytest.raises(UserError, match="2026-11-24: materialize app_transitions of that day first"):
        train(warehouse, layout, NEXT_DAY)


def test_too_many_mini_apps_are_taken_for_a_wrong_mapping(
    warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MOST_MINI_APPS", 7)
    load_days(warehouse, memory_path, DAYS[:1])
    with pytest.raises(UserError, match=r"8 mini-apps, such as 'blotter' and 'quotes': the model takes 7 at most;"):
        train(warehouse, layout, DAYS[0])


def test_a_folder_that_is_no_days_is_passed_over(warehouse: DuckDBWarehouse, memory_path: Path, layout: Layout) -> None:
    load_days(warehouse, memory_path)
    folder = train(warehouse, layout, DAYS[0]).folder
    folder.rename(folder.with_name(f"{folder.name}.bak"))
    assert model_before(layout, DAYS[1]) is None
