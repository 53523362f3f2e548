"""Evaluation against figures worked out by hand, and against the reference on a day of a real portal."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.evaluation import MOST_FREQUENT, ORDER_1_MARKOV, evaluate
from usage_analytics_tests.models.branching.counts import gram_rows

MSNBC = Path(__file__).resolve().parents[4] / "shared" / "data" / "msnbc" / "msnbc990928.zip"
SCHEMA = {**gram_rows.SCHEMA, "fold": pl.Int64}


def frame(*rows: tuple[str | None, str | None, str | None, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


FITTED = frame(
    (None, None, None, "quotes", 90, 0),
    (None, None, "quotes", "chart", 60, 0),
    (None, None, "quotes", "chat", 30, 1),
)
HELD_OUT = frame(
    (None, None, None, "quotes", 1000, 4),
    (None, None, "quotes", "chart", 6, 4),
    (None, None, "quotes", "chat", 3, 4),
    (None, None, "quotes", "research", 1, 4),
)


def test_figures_are_weighted_by_transitions() -> None:
    model = NGramModel.fit(FITTED)
    figures = evaluate(model, HELD_OUT)
    kept = 1 - 1 / 181  # of 180 transitions, as if the next one were to something never seen
    chart, chat = (float(p) * kept for p in model.probabilities([(None, "quotes")])[0, :2])
    assert (figures.transitions, figures.unknown_transitions) == (10, 1)
    assert figures.recall_at_1 == pytest.approx(0.6)
    assert figures.recall_at_3 == pytest.approx(0.9)
    expected = -(6 * np.log(chart) + 3 * np.log(chat) + np.log(1 / 181)) / 10
    assert figures.log_loss == pytest.approx(expected)
    assert figures.calibration_error == pytest.approx(abs(chart - 0.6))


def apart(counts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Four folds to fit, and the fifth."""
    return counts.filter(pl.col("fold") != 4), counts.filter(pl.col("fold") == 4)


def test_baselines_are_the_orders_zero_and_one() -> None:
    figures = evaluate(NGramModel.fit(FITTED, 3), HELD_OUT)
    for name, order in ((MOST_FREQUENT, 0), (ORDER_1_MARKOV, 1)):
        alone = evaluate(NGramModel.fit(FITTED, order), HELD_OUT)
        assert figures.baselines[name].log_loss == pytest.approx(alone.log_loss)
        assert figures.baselines[name].recall_at_1 == alone.recall_at_1


def test_many_contexts_are_scored_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    apps = rng.integers(0, 9, (800, 4)).astype(str).tolist()
    rows = [(a, b, c, d, 1 + i % 3, i % 5) for i, (a, b, c, d) in enumerate(apps)]
    fitted, held_out = apart(frame(*rows))
    model = NGramModel.fit(fitted)
    whole = evaluate(model, held_out)
    monkeypatch.setattr("usage_analytics.models.branching.evaluation._CONTEXTS_AT_ONCE", 7)
    assert evaluate(model, held_out) == whole


def test_contexts_seen_seldom_promise_too_much_and_more_messages_narrow_it() -> None:
    """What the demo says of its calibration error: users who all walk alike show it too."""
    rng = np.random.default_rng(5)
    apps, chain = 10, rng.dirichlet(np.full(10, 0.5), (10, 10))

    def walked(steps: int, fold: int) -> pl.DataFrame:
        walk = [0, 1, 2]
        for drawn in rng.random(steps):
            following = int(np.searchsorted(chain[walk[-2], walk[-1]].cumsum(), drawn))
            walk.append(min(following, apps - 1))
        names = [str(app) for app in walk]
        return frame(*((*names[n : n + 4], 1, fold) for n in range(steps)))

    held_out = walked(5_000, 4)
    few, many = (evaluate(NGramModel.fit(walked(steps, 0)), held_out) for steps in (5_000, 60_000))
    assert few.calibration_error > 1.5 * many.calibration_error > 0.03
    assert many.baselines[ORDER_1_MARKOV].calibration_error < 0.02


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to predict"):
        evaluate(NGramModel.fit(FITTED), HELD_OUT.head(1))


def msnbc_counts() -> pl.DataFrame:
    """Transition counts of the portal's users; fold = line number % 5."""
    with zipfile.ZipFile(MSNBC) as archive:
        text = archive.read(archive.namelist()[0]).decode().split("% Sequences:")[1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    visits = (
        pl.DataFrame({"line": lines})
        .with_row_index("user")
        .select("user", pl.col("line").str.split(" ").alias("next"))
        .explode("next")
        .with_columns(
            *(pl.col("next").shift(back).over("user").alias(f"prev{back}") for back in (1, 2, 3)),
            fold=pl.col("user").cast(pl.Int64) % 5,
        )
    )
    return visits.group_by("prev3", "prev2", "prev1", "next", "fold").agg(pl.len().cast(pl.Int64).alias("transitions"))


@pytest.mark.skipif(not MSNBC.exists(), reason=f"needs the msnbc visits at {MSNBC}, which are not in the repository")
def test_msnbc_reaches_the_reference() -> None:
    fitted, held_out = apart(msnbc_counts())
    figures = evaluate(NGramModel.fit(fitted), held_out)
    assert figures.recall_at_1 >= 0.673
    assert figures.recall_at_3 >= 0.842
    assert figures.log_loss <= 1.206
    assert figures.calibration_error <= 0.01
    assert figures.baselines[ORDER_1_MARKOV].recall_at_1 == pytest.approx(0.653, abs=0.001)
    assert figures.baselines[MOST_FREQUENT].recall_at_3 == pytest.approx(0.375, abs=0.002)
