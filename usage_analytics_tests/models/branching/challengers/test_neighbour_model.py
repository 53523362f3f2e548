"""Session-kNN from files to figures, on users of whom each has one errand, and errands share a mini-app."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from usage_analytics.errors import UserError
from usage_analytics.models.branching.challengers.neighbour_model import NeighbourModel, fit_neighbours
from usage_analytics.models.branching.challengers.neighbours import NeighbourSettings
from usage_analytics.models.branching.counts.transition_counts import UNKNOWN
from usage_analytics.models.branching.scoring import score
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import read_sessions
from usage_analytics_tests.models.branching.challengers.planted_sessions import (
    FIT,
    HELD_OUT,
    VALIDATION,
    write_sessions,
)

ERRANDS = (
    ("hub", "quotes", "chart", "news"),
    ("hub", "blotter", "ticket", "risk"),
    ("hub", "chat", "mail", "calendar"),
)
SETTINGS = NeighbourSettings(compared=300, neighbours=100, longest=8)


def errands(sessions: int, seed: int) -> list[list[str]]:
    """The hub first, then four steps drawn evenly from one errand's own three mini-apps."""
    random = np.random.default_rng(seed)
    drawn = zip(random.integers(3, size=sessions), random.integers(1, 4, (sessions, 4)), strict=True)
    return [["hub", *(ERRANDS[errand][step] for step in steps)] for errand, steps in drawn]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sessions(tmp_path_factory.mktemp("sessions") / "day.parquet", errands(3000, 1))


@pytest.fixture(scope="module")
def model(path: Path) -> NeighbourModel:
    return fit_neighbours([path], FIT, VALIDATION, SETTINGS)


def test_what_an_errand_needs_is_found_though_its_order_is_not_known(path: Path, model: NeighbourModel) -> None:
    """After the hub any of nine is as likely, afterwards any of three: log 9 once, log 3 three times."""
    scores = score(model, read_sessions([path], model.mini_apps, [HELD_OUT]))
    truth = (np.log(9) + 3 * np.log(3)) / 4
    assert truth * 0.98 < scores.log_loss < truth * 1.06
    assert scores.recall_at_3 > 0.8  # of the truth: (3 / 9 + 3) / 4
    assert scores.calibration_error < 0.06
    assert scores.log_loss < 0.7 * -np.log(1 / 9)


def test_rows_sum_to_one_and_a_session_of_one_event_has_none(model: NeighbourModel) -> None:
    hub = model.mini_apps.index("hub") + 1
    found = model.probabilities(CodedSessions.of([[hub], [hub, UNKNOWN, 1], [UNKNOWN, 2]]))
    assert found.shape == (3, len(model.mini_apps))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert model.probabilities(CodedSessions.of([[hub]])).shape == (0, len(model.mini_apps))


def test_a_mini_app_never_seen_is_a_miss_at_the_reserved_probability(tmp_path: Path, model: NeighbourModel) -> None:
    path = write_sessions(tmp_path / "new.parquet", [["hub", "brand new"]])
    scores = score(model, read_sessions([path], model.mini_apps, [0]))
    assert (scores.unknown_predictions, scores.recall_at_3) == (1, 0.0)
    assert scores.log_loss == pytest.approx(np.log(1800 * 4 + 1))


def test_the_same_data_and_seed_give_the_same_figures(path: Path, model: NeighbourModel) -> None:
    again = fit_neighbours([path], FIT, VALIDATION, SETTINGS)
    np.testing.assert_array_equal(again.calibration.weights, model.calibration.weights)
    np.testing.assert_array_equal(again.recent.holders, model.recent.holders)


def test_progress_is_told_by_the_sessions_that_are_read(path: Path) -> None:
    told: list[int] = []
    fit_neighbours([path], FIT, VALIDATION, SETTINGS, watch=told.append)
    assert sum(told) == 3000 * 4 / 5


@pytest.mark.parametrize(("folds", "which"), [([3, 4], "0, 1, 2"), ([0, 1, 2], "3")])
def test_an_empty_fold_is_named(tmp_path: Path, folds: list[int], which: str) -> None:
    sessions = errands(10, 2)
    path = write_sessions(tmp_path / "day.parquet", sessions, [folds[n % len(folds)] for n in range(10)])
    with pytest.raises(UserError, match=rf"day\.parquet: no user session of fold {which} has a second event"):
        fit_neighbours([path], FIT, VALIDATION, SETTINGS)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = write_sessions(tmp_path / "day.parquet", errands(10, 3))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"day\.parquet: .* broken"):
        fit_neighbours([path], FIT, VALIDATION, SETTINGS)
