"""The model as a whole: better than its counts where there is more to know, the same after saving, never another's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from usage_analytics.errors import UserError
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factored_model import (
    COUNTS_FILE,
    FACTORS_FILE,
    FactoredModel,
    learn_from_sessions,
)
from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.models.branching.scoring import score
from usage_analytics.models.branching.sequence_model import CountedSequences
from usage_analytics.models.branching.sessions.user_sessions import NOTHING_KNOWN, Known, read_sessions
from usage_analytics.models.branching.users.user_classes import UserClasses
from usage_analytics_tests.models.branching.challengers.planted_sessions import counted, write_sessions

FIT, LEARNED, HELD_OUT = [0, 1, 2, 3], 3, 4


def never_back(sessions: int, seed: int) -> list[list[str]]:
    """Ten mini-apps in any order, none twice: what counts of three cannot know."""
    chance = np.random.default_rng(seed)
    return [[f"app{number}" for number in chance.permutation(10)] for _ in range(sessions)]


def model_of(sessions: list[list[str]], path: Path) -> FactoredModel:
    counts = NGramModel.fit(counted(sessions, FIT))
    without = NGramModel.fit(counted(sessions, FIT[:-1])).widened(counts.mini_apps)
    lesson = read_sessions([path], counts.mini_apps, [LEARNED])
    return FactoredModel(counts, learn_from_sessions(without, lesson, 0, 0), NOTHING_KNOWN)


def test_what_was_opened_long_ago_is_remembered(tmp_path: Path) -> None:
    """The last event of a session is certain; on average the best log-loss is that of drawing from what is left."""
    sessions = never_back(3_000, seed=1)
    path = write_sessions(tmp_path / "sessions.parquet", sessions)
    model = model_of(sessions, path)
    ours = score(model, read_sessions([path], model.mini_apps, [HELD_OUT]))
    counts = score(CountedSequences(model.counts), read_sessions([path], model.mini_apps, [HELD_OUT]))
    best = float(np.mean([np.log(left) for left in range(9, 0, -1)]))
    assert ours.log_loss < counts.log_loss - 0.2
    assert ours.log_loss == pytest.approx(best, abs=0.1)


def test_a_model_is_the_same_when_read_again(tmp_path: Path) -> None:
    sessions = never_back(200, seed=2)
    path = write_sessions(tmp_path / "sessions.parquet", sessions)
    learned = model_of(sessions, path)
    users = UserClasses(np.array([3, 9], np.uint64), np.array([1, 2], np.uint8))
    factors = Factors.none(len(learned.mini_apps), classes=2, entities=1)
    model = FactoredModel(learned.counts, factors, Known(("EQ-001",), users))
    model.save(tmp_path / "model")
    again = FactoredModel.load(tmp_path / "model")
    assert again.mini_apps == model.mini_apps and again.known.entities == ("EQ-001",)
    assert again.known.user_classes.classes.tolist() == [1, 2]
    for name, values in model.factors.arrays().items():
        np.testing.assert_array_equal(getattr(again.factors, name), values)


def test_files_of_two_models_are_not_taken_for_one(tmp_path: Path) -> None:
    for name, count in (("one", 100), ("other", 150)):
        sessions = never_back(count, seed=3)
        path = write_sessions(tmp_path / f"{name}.parquet", sessions)
        model_of(sessions, path).save(tmp_path / name)
    (tmp_path / "one" / COUNTS_FILE).write_bytes((tmp_path / "other" / COUNTS_FILE).read_bytes())
    with pytest.raises(
        UserError, match=r"model\.parquet is damaged, or of another model than factors\.npz; make the model"
    ):
        FactoredModel.load(tmp_path / "one")


@pytest.mark.parametrize("file", [COUNTS_FILE, FACTORS_FILE])
def test_a_broken_file_is_named(tmp_path: Path, file: str) -> None:
    sessions = never_back(50, seed=4)
    model_of(sessions, write_sessions(tmp_path / "sessions.parquet", sessions)).save(tmp_path / "model")
    broken = tmp_path / "model" / file
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"{file} is (broken|damaged)"):
        FactoredModel.load(tmp_path / "model")
    broken.unlink()
    with pytest.raises(FileNotFoundError):
        FactoredModel.load(tmp_path / "model")


def test_sessions_without_a_second_event_teach_nothing(tmp_path: Path) -> None:
    counts = NGramModel.fit(counted([["a", "b"]], [0]))
    path = write_sessions(tmp_path / "sessions.parquet", [["a"], ["b"]])
    factors = learn_from_sessions(counts, read_sessions([path], counts.mini_apps, range(5)), 2, 1)
    np.testing.assert_array_equal(factors.revisits, 1.0)
