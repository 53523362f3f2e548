"""Turns shares of scores into probabilities, by what a validation fold of users did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.counts.transition_counts import SESSION_START

_MIXTURES = tuple(float(weight) for weight in np.geomspace(1e-3, 1.0, 10))
_RIDGE = 1.0  # on the weights' squared distance from leaving shares as they are: keeps them finite where data are few
_STEPS = 30
_AS_THEY_ARE = np.array([1.0, 0.0, 0.0])
_LENGTHS = (1, 2, 3, 5)  # from so many events on; the longer a context, the surer its neighbours seem


@dataclass(frozen=True)
class Calibration:
    """Multinomial logits over the mini-apps, of few features, one for each length of context.

    The features are the logarithm of (share + mixture * frequency), whether the mini-app is open now, and whether it
    was opened before in the session.
    """

    frequencies: Floats  # (mini_apps,) of what follows, all above zero
    mixtures: Floats  # (lengths,)
    weights: Floats  # (lengths, 3) of the features

    def probabilities(self, shares: Floats, contexts: Ints) -> Floats:
        """From shares (rows, mini_apps) that sum to one or are all zero; contexts: codes, nearest first."""
        found = np.empty_like(shares)
        for number, rows in _by_length(contexts):
            features = _features(shares[rows], contexts[rows], self.frequencies, self.mixtures[number])
            found[rows] = _softmax(features @ self.weights[number])
        return found


def calibrate(shares: Floats, contexts: Ints, actions: Ints, frequencies: Floats) -> Calibration:
    """The most likely mixtures and weights, given what was opened: actions (rows,), positions in the vocabulary."""
    mixtures, weights = np.ones(len(_LENGTHS)), np.tile(_AS_THEY_ARE, (len(_LENGTHS), 1))
    for number, rows in _by_length(contexts):
        fits = [
            (*_fit(_features(shares[rows], contexts[rows], frequencies, mixture), actions[rows]), mixture)
            for mixture in _MIXTURES
        ]
        _, weights[number], mixtures[number] = min(fits, key=lambda fit: fit[0])
    return Calibration(frequencies, mixtures, weights)


def _by_length(contexts: Ints) -> Iterator[tuple[int, Ints]]:
    """The rows of contexts of each length that occurs."""
    lengths = (contexts != SESSION_START).sum(axis=1)
    numbers = np.maximum(np.searchsorted(_LENGTHS, lengths, side="right") - 1, 0)
    for number in np.unique(numbers).tolist():
        yield number, np.flatnonzero(numbers == number)


def _features(shares: Floats, contexts: Ints, frequencies: Floats, mixture: float) -> Floats:
    """(rows, mini_apps, 3)"""
    rows, apps = shares.shape
    mixed = np.log((shares + mixture * frequencies) / (shares.sum(axis=1, keepdims=True) + mixture))
    opened = np.zeros((rows, apps + 2))  # the last two columns take UNKNOWN and SESSION_START
    opened[np.arange(rows)[:, None], contexts - 1] = 1.0
    current = np.zeros((rows, apps + 2))
    current[np.arange(rows), contexts[:, 0] - 1] = 1.0
    return np.stack([mixed, current[:, :apps], (opened - current)[:, :apps]], axis=2)


def _fit(features: Floats, actions: Ints) -> tuple[float, Floats]:
    """Newton's method on a concave likelihood: the loss, and the weights."""
    weights, loss = _AS_THEY_ARE, _loss(features, actions, _AS_THEY_ARE)
    chosen = features[np.arange(len(actions)), actions].sum(axis=0)
    for _ in range(_STEPS):
        probabilities = _softmax(features @ weights)
        weighted = probabilities[:, :, None] * features
        expected = weighted.sum(axis=1)
        squares = weighted.reshape(-1, 3).T @ features.reshape(-1, 3)
        gradient = chosen - expected.sum(axis=0) - _RIDGE * (weights - _AS_THEY_ARE)
        step = np.linalg.solve(squares - expected.T @ expected + _RIDGE * np.eye(3), gradient)
        while (tried := _loss(features, actions, weights + step)) > loss and np.abs(step).max() > 1e-9:
            step = step / 2
        if tried >= loss:
            break
        weights, loss = weights + step, tried
    return loss, weights


def _loss(features: Floats, actions: Ints, weights: Floats) -> float:
    logits = features @ weights
    most = logits.max(axis=1)
    totals = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
    given = logits[np.arange(len(actions)), actions]
    return float((totals - given).sum() + _RIDGE * ((weights - _AS_THEY_ARE) ** 2).sum() / 2)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
