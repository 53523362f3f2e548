"""The next-action model: what holds for any counts, and the figures it reaches on real visits."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics_tests.models.branching.counts.gram_rows import SCHEMA

APPS = ("blotter", "chart", "chat", "quotes")
KEY = "usage_analytics.next_action_model"

user_sessions = st.lists(st.lists(st.sampled_from(APPS), min_size=1, max_size=6), min_size=1, max_size=12)
contexts = st.lists(st.sampled_from((*APPS, "never seen")), max_size=5).map(tuple)


def count(sessions: list[list[str]]) -> pl.DataFrame:
    """Transition counts of user sessions, one row per event."""
    rows: list[tuple[str | int | None, ...]] = []
    for session in sessions:
        padded: list[str | None] = [None, None, None, *session]
        rows.extend((*padded[i : i + 4], 1) for i in range(len(session)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@settings(max_examples=50, deadline=None)
@given(user_sessions, st.lists(contexts, max_size=6), st.booleans(), st.integers(0, 3))
def test_probabilities_are_positive_and_sum_to_one(
    sessions: list[list[str]], asked: list[tuple[str, ...]], from_start: bool, order: int
) -> None:
    model = NGramModel.fit(count(sessions), order)
    full = [(None, *context) if from_start else context for context in asked]
    probabilities = model.probabilities(full)
    assert probabilities.shape == (len(asked), len(model.mini_apps))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
    assert (probabilities > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(user_sessions, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_days_added_in_any_order_give_the_same_model(days, random) -> None:  # type: ignore[no-untyped-def]
    counts = [count(day).with_columns(trading_day=pl.lit(number)) for number, day in enumerate(days)]
    aggregated = [day.group_by(list(SCHEMA)[:4]).agg(pl.col("transitions").sum()) for day in counts]
    random.shuffle(aggregated)
    one, other = NGramModel.fit(pl.concat(counts)), NGramModel.fit(pl.concat(aggregated))
    assert one.mini_apps == other.mini_apps
    assert one.grams.equals(other.grams)
    asked = one.contexts(3)
    assert asked == other.contexts(3)
    np.testing.assert_array_equal(one.probabilities(asked), other.probabilities(asked))


def by_probability(model: NGramModel, context: tuple[str | None, ...]) -> list[str]:
    """The mini-apps, most probable first; of equal ones, by name."""
    (probabilities,) = model.probabilities([context])
    return [model.mini_apps[place] for place in np.argsort(-probabilities, kind="stable")]


def test_unknown_context_falls_back_to_the_longest_known_suffix() -> None:
    model = NGramModel.fit(count([["quotes", "chart", "blotter"], ["quotes", "chart", "chat"]]))
    known = model.probabilities([("quotes", "chart")])
    np.testing.assert_array_equal(model.probabilities([("never seen", "quotes", "chart")]), known)
    np.testing.assert_array_equal(model.probabilities([("never seen",)]), model.probabilities([()]))
    # what opens a user session is no transition: quotes never follows anything here
    assert by_probability(model, ()) == ["chart", "blotter", "chat", "quotes"]
    assert by_probability(model, (None,))[0] == "quotes"


def test_the_evidence_is_of_the_longest_known_suffix() -> None:
    model = NGramModel.fit(count([["quotes", "chart", "blotter"]] * 5 + [["chat", "chart", "quotes"]]))
    assert by_probability(model, ("quotes", "chart"))[0] == "blotter"
    asked = [("quotes", "chart"), ("never seen", "chart"), ("chart", "never seen")]
    orders, transitions = model.evidence(asked)
    assert (orders.tolist(), transitions.tolist()) == ([2, 1, 0], [5, 6, 12])


def test_longer_histories_beyond_the_order_are_ignored() -> None:
    model = NGramModel.fit(count([["quotes", "chart", "chat", "blotter"]] * 3), max_order=2)
    long = model.probabilities([("blotter", "quotes", "chart", "chat")])
    np.testing.assert_array_equal(long, model.probabilities([("chart", "chat")]))


def test_many_sparse_mini_apps() -> None:
    rng = np.random.default_rng(7)
    names = np.array([f"app{i:03}" for i in range(500)])
    drawn = names[rng.integers(0, 500, (20_000, 4))]
    counts = pl.DataFrame(drawn, schema=list(SCHEMA)[:4]).with_columns(transitions=pl.lit(1, pl.Int64))
    model = NGramModel.fit(counts)
    np.testing.assert_allclose(model.probabilities(model.contexts(2)[:300]).sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (count([["quotes"]]).drop("prev2"), "prev2"),
        (count([]), "no transition"),
        (pl.DataFrame([(None, None, "quotes", None, 1)], SCHEMA, orient="row"), "next is null"),
        (pl.DataFrame([(None, None, None, "quotes", -1)], SCHEMA, orient="row"), "negative"),
        (pl.DataFrame([("chat", None, "quotes", "chat", 1)], SCHEMA, orient="row"), "before the start"),
        (count([["quotes"]]).with_columns(pl.col("transitions") / 2), "whole numbers"),
    ],
)
def test_malformed_counts_are_refused(counts: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NGramModel.fit(counts)


def test_start_of_session_after_an_action_is_refused() -> None:
    model = NGramModel.fit(count([["quotes", "chart"]]))
    with pytest.raises(ValueError, match="may only come first"):
        model.probabilities([("quotes", None)])


@pytest.mark.parametrize("order", [0, 1, 3])
def test_save_and_load_round_trip(tmp_path: Path, order: int) -> None:
    counts = count([["quotes", "chart", "blotter"], ["chat", "chart"], ["chat"]])
    model = NGramModel.fit(counts, order, trading_day=date(2026, 11, 23))
    path = tmp_path / "day" / "model.parquet"
    model.save(path)
    model.save(path)
    loaded = NGramModel.load(path)
    assert (loaded.max_order, loaded.trading_day) == (order, date(2026, 11, 23))
    assert (loaded.mini_apps, loaded.transitions) == (model.mini_apps, model.transitions)
    asked = [(), ("chart",), ("quotes", "chart"), (None, "chat")]
    np.testing.assert_array_equal(loaded.probabilities(asked), model.probabilities(asked))
    assert [file.name for file in path.parent.iterdir()] == ["model.parquet"]


def in_folds(sessions: list[list[str]]) -> pl.DataFrame:
    """Counts of sessions of two folds of users, by turns."""
    return pl.concat([count([each]).with_columns(fold=pl.lit(n % 2)) for n, each in enumerate(sessions)])


WALKS = [["quotes", "chart", "blotter", "chat"], ["chat", "chart", "quotes"], ["quotes", "chart", "chat"]] * 4
ASKED = [(), ("chart",), ("quotes", "chart"), ("chat", "chart")]


def test_weights_are_kept_not_learned_again(tmp_path: Path) -> None:
    fitted = NGramModel.fit(in_folds(WALKS))
    fitted.save(tmp_path / "fitted.parquet")
    np.testing.assert_array_equal(NGramModel.load(tmp_path / "fitted.parquet").weights, fitted.weights)
    others = np.where(np.isnan(fitted.weights), np.nan, 0.25)  # which these counts do not teach
    given = NGramModel(fitted.grams, fitted.max_order, None, others)
    given.save(tmp_path / "given.parquet")
    loaded = NGramModel.load(tmp_path / "given.parquet")
    np.testing.assert_array_equal(loaded.probabilities(ASKED), given.probabilities(ASKED))
    assert np.abs(loaded.probabilities(ASKED) - fitted.probabilities(ASKED)).max() > 0.01


def rewrite_about(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write what stands beside the counts anew, changed."""
    about = json.loads(pl.read_parquet_metadata(path)[KEY])
    change(about)
    pl.read_parquet(path).write_parquet(path, metadata={KEY: json.dumps(about)})


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    NGramModel.fit(in_folds(WALKS)).save(path)
    rewrite_about(path, lambda about: about.pop("weights"))
    with pytest.raises(ValueError, match=r"model\.parquet is broken: .*weights"):
        NGramModel.load(path)


@pytest.mark.parametrize("wrong", [None, [], [[0.5] * 40] * 3, [[0.5] * 39 + [1.5]] * 4, [["a"] * 40] * 4])
def test_weights_that_are_none_are_refused(tmp_path: Path, wrong: object) -> None:
    path = tmp_path / "model.parquet"
    NGramModel.fit(in_folds(WALKS)).save(path)
    rewrite_about(path, lambda about: about.update(weights=wrong))
    with pytest.raises(ValueError, match=r"model\.parquet is broken"):
        NGramModel.load(path)


def test_mini_apps_that_were_not_counted_change_no_weight() -> None:
    fitted = NGramModel.fit(in_folds(WALKS))
    assert fitted.widened(["chart", "quotes"]) is fitted
    wider = fitted.widened(["brand new", *fitted.mini_apps])
    assert wider.mini_apps == ("blotter", "brand new", "chart", "chat", "quotes")
    np.testing.assert_array_equal(wider.weights, fitted.weights)
    new = wider.probabilities(ASKED)[:, 1]
    assert (new > 0).all() and (new < 0.05).all()
    np.testing.assert_allclose(wider.probabilities(ASKED).sum(axis=1), 1.0)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 0.999))
def test_truncated_file_is_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("models") / "truncated.parquet"
    NGramModel.fit(count([["quotes", "chart", "blotter"]])).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"truncated\.parquet is broken"):
        NGramModel.load(path)


def test_other_version_and_foreign_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.parquet"
    with monkeypatch.context() as patched:
        patched.setattr("usage_analytics.models.branching.counts.model_file.FORMAT_VERSION", 99)
        NGramModel.fit(count([["quotes", "chart"]])).save(path)
    with pytest.raises(ValueError, match=r"model\.parquet has format version 99"):
        NGramModel.load(path)
    count([["quotes", "chart"]]).write_parquet(path)
    with pytest.raises(ValueError, match=r"model\.parquet"):
        NGramModel.load(path)


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.parquet"
    model = NGramModel.fit(count([["quotes", "chart"]]))
    model.save(path)
    before = path.read_bytes()

    def disk_full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("usage_analytics.lake.files.os.fsync", disk_full)
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
