"""Interpolation weights: learned on users who were left out, planted ones are found again."""

import numpy as np
import polars as pl
import pytest

from usage_analytics.models.branching.counts.interpolation import BUCKETS, bucket_of
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.evaluation import evaluate

NAMES = ("prev3", "prev2", "prev1", "next")


def counts_of(sequences: list[list[str]], folds: list[int]) -> pl.DataFrame:
    rows = []
    for sequence, fold in zip(sequences, folds, strict=True):
        padded = [None, None, None, *sequence]
        rows += [(*padded[at : at + 4], fold, 1) for at in range(len(sequence))]
    return pl.DataFrame(
        rows, {**dict.fromkeys(NAMES, pl.String), "fold": pl.Int64, "transitions": pl.Int64}, orient="row"
    )


def habits(users: int, length: int, seed: int) -> list[list[str]]:
    """Users who each repeat a loop of their own: counted often, it says nothing of another user."""
    chance = np.random.default_rng(seed)
    loops = [chance.choice(list("abcdefgh"), 3, replace=False).tolist() for _ in range(users)]
    return [[loop[at % 3] for at in range(length)] for loop in loops]


def test_what_one_user_does_again_and_again_says_little_of_others() -> None:
    """With folds, habits of single users do not make a longer context trusted: held-out log-loss is far less."""
    seen, unseen = habits(200, 60, seed=1), habits(50, 60, seed=2)
    counts = counts_of(seen, [user % 5 for user in range(len(seen))])
    held_out = counts_of(unseen, [0] * len(unseen))
    by_users = evaluate(NGramModel.fit(counts, 3), held_out)
    by_counts = evaluate(NGramModel.fit(counts.drop("fold"), 3), held_out)
    assert by_users.log_loss < by_counts.log_loss - 0.05
    assert by_users.calibration_error < by_counts.calibration_error


def test_a_context_that_tells_nothing_gets_no_weight() -> None:
    """What is drawn anew at each step: one context is as good as none, and held-out log-loss is the entropy."""
    chance = np.random.default_rng(3)
    sequences = chance.choice(list("abcd"), (400, 50), p=[0.4, 0.3, 0.2, 0.1]).tolist()
    counts = counts_of(sequences, [user % 5 for user in range(400)])
    model = NGramModel.fit(counts, 3)
    fresh = chance.choice(list("abcd"), (200, 50), p=[0.4, 0.3, 0.2, 0.1]).tolist()
    scores = evaluate(model, counts_of(fresh, [0] * 200))
    entropy = -sum(p * np.log(p) for p in (0.4, 0.3, 0.2, 0.1))
    assert scores.log_loss == pytest.approx(entropy, abs=0.015)
    assert scores.log_loss - scores.baselines["most_frequent"].log_loss < 0.003


def test_without_folds_discounting_decides() -> None:
    sequences = habits(10, 12, seed=4)
    alone = NGramModel.fit(counts_of(sequences, [0] * 10), 2)
    none = NGramModel.fit(counts_of(sequences, [0] * 10).drop("fold"), 2)
    asked = none.contexts(2)
    np.testing.assert_array_equal(alone.probabilities(asked), none.probabilities(asked))


def test_buckets_are_powers_of_two() -> None:
    totals = np.array([1, 2, 3, 4, 7, 8, 1023, 1024, 2**62])
    assert bucket_of(totals).tolist() == [0, 1, 1, 2, 2, 3, 9, 10, BUCKETS - 1]
