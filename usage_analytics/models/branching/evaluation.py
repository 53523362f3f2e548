"""How good is a next-action model on transitions that it never saw, beside two baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.calibration_bins import calibration_error, calibration_gaps
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.counts.transition_counts import encode_grams, sum_counts
from usage_analytics.models.branching.sequence_model import reserve

MOST_FREQUENT = "most_frequent"
ORDER_1_MARKOV = "order_1_markov"

_CONTEXTS_AT_ONCE = 4096  # bounds memory: 16 MB at 500 mini-apps


@dataclass(frozen=True)
class Evaluation:
    """Figures weighted by transitions; `baselines` has the same of MOST_FREQUENT and ORDER_1_MARKOV."""

    transitions: int
    unknown_transitions: int  # whose next mini-app the model never saw: always a miss, at the probability kept for it
    recall_at_1: float
    recall_at_3: float
    log_loss: float  # nats per transition
    calibration_error: float  # expected calibration error of the first prediction, 0 to 1
    baselines: Mapping[str, Evaluation] = field(default_factory=dict)


def evaluate(model: NGramModel, held_out_counts: pl.DataFrame) -> Evaluation:
    """Predict every held-out transition but the first of a user session.

    The baselines are the model's own orders 0 and 1. Probability is reserved for mini-apps that the model never saw, as
    in `scoring.score`: of the same transitions it gives the same figures. ValueError when there is nothing to predict.
    """
    # prev1 is read even by an order-0 model: it says which rows open a user session
    grams = sum_counts(held_out_counts, model.max_order).filter(pl.col("prev1").is_not_null())
    if not grams.height:
        raise ValueError("the held-out counts hold no transition after a first action: there is nothing to predict")
    contexts, following, weights = encode_grams(grams, model.mini_apps, max(model.max_order, 1))
    limits = {MOST_FREQUENT: 0, ORDER_1_MARKOV: 1}
    baselines = {
        name: _score(model, contexts, following - 1, weights, min(limit, model.max_order), {})
        for name, limit in limits.items()
    }
    return _score(model, contexts, following - 1, weights, model.max_order, baselines)


def _score(
    model: NGramModel,
    contexts: Ints,
    actions: Ints,
    weights: Ints,
    max_order: int,
    baselines: Mapping[str, Evaluation],
) -> Evaluation:
    places, likelihoods, confidences = _predict(model, contexts, actions, max_order)
    total = int(weights.sum())
    return Evaluation(
        transitions=total,
        unknown_transitions=int(weights[actions < 0].sum()),
        recall_at_1=float(weights[places < 1].sum() / total),
        recall_at_3=float(weights[places < 3].sum() / total),
        log_loss=float(-(weights * np.log(likelihoods)).sum() / total),
        calibration_error=calibration_error(calibration_gaps(confidences, places == 0, weights), total),
        baselines=baselines,
    )


def _predict(model: NGramModel, contexts: Ints, actions: Ints, max_order: int) -> tuple[Ints, Floats, Floats]:
    """Per n-gram: place of the action (0 is best), its probability, and that of the best action."""
    distinct, inverse = np.unique(contexts, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    by_context = np.argsort(inverse, kind="stable")
    places = np.full(len(actions), len(model.mini_apps), dtype=np.int64)
    reserved = reserve(model.transitions)
    likelihoods = np.full(len(actions), reserved)
    confidences = np.zeros(len(actions))
    for begin in range(0, len(distinct), _CONTEXTS_AT_ONCE):
        end = min(begin + _CONTEXTS_AT_ONCE, len(distinct))
        probabilities = model.coded_probabilities(distinct[begin:end], max_order) * (1.0 - reserved)
        ranks = np.argsort(np.argsort(-probabilities, axis=1, kind="stable"), axis=1)
        rows = by_context[slice(*np.searchsorted(inverse[by_context], [begin, end]))]
        confidences[rows] = probabilities.max(axis=1)[inverse[rows] - begin]
        known = rows[actions[rows] >= 0]
        places[known] = ranks[inverse[known] - begin, actions[known]]
        likelihoods[known] = probabilities[inverse[known] - begin, actions[known]]
    return places, likelihoods, confidences
