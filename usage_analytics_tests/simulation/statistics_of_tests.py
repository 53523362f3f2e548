"""Textbook statistics that the recovery tests need, in a few lines each."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def mixture_of_multinomials(counts: Reals, components: int, seed: int) -> tuple[Ints, Reals]:
    """Label of each row and share of each component, by expectation maximisation.

    It begins with four times as many components, so that none of the wanted ones is left out, and merges two by two
    those that lose least likelihood (Ueda and others, "SMEM algorithm for mixture models", 2000).
    """
    rows = _far_apart(counts, 4 * components, np.random.default_rng(seed))
    weights, _ = _maximised(counts, rows, np.full(len(rows), 1 / len(rows)), rounds=15)
    masses, shares = weights.T @ counts, weights.mean(axis=0)
    while len(masses) > components:
        one, other = _cheapest_merger(masses)
        masses[one] += masses[other]
        shares[one] += shares[other]
        masses, shares = np.delete(masses, other, axis=0), np.delete(shares, other)
    weights, shares = _maximised(counts, _profiles(masses), shares, rounds=40)
    return weights.argmax(axis=1), shares


def _maximised(counts: Reals, profiles: Reals, shares: Reals, rounds: int) -> tuple[Reals, Reals]:
    for _ in range(rounds):
        joint = counts @ np.log(profiles).T + np.log(shares)
        weights = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
        shares = np.maximum(weights.mean(axis=0), 1e-9)
        profiles = _profiles(weights.T @ counts)
    return weights, shares


def _profiles(masses: Reals) -> Reals:
    smooth = masses + 0.5
    return np.asarray(smooth / smooth.sum(axis=1, keepdims=True), np.float64)


def _cheapest_merger(masses: Reals) -> tuple[int, int]:
    def likelihood(mass: Reals) -> Reals:
        return np.asarray((mass * np.log(np.maximum(mass, 1e-9) / mass.sum(axis=-1, keepdims=True))).sum(axis=-1))

    alone = likelihood(masses)
    loss = alone[:, None] + alone[None, :] - likelihood(masses[:, None] + masses[None, :])
    loss[np.tril_indices(len(masses))] = np.inf
    one, other = np.unravel_index(loss.argmin(), loss.shape)
    return int(one), int(other)


def _far_apart(counts: Reals, components: int, chance: np.random.Generator) -> Reals:
    rows = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    rows = rows[counts.sum(axis=1) >= np.median(counts.sum(axis=1))]
    chosen = [rows[chance.integers(len(rows))]]
    while len(chosen) < components:  # as k-means++ does
        distance = np.min([((np.sqrt(rows) - np.sqrt(c)) ** 2).sum(axis=1) for c in chosen], axis=0)
        chosen.append(rows[chance.choice(len(rows), p=distance / distance.sum())])
    return np.array(chosen)


def adjusted_rand_index(first: Sequence[object] | Ints, second: Sequence[object] | Ints) -> float:
    """Agreement of two partitions (Hubert and Arabie 1985): 1 is the same, 0 is chance."""
    _, rows = np.unique(np.asarray(first), return_inverse=True)
    _, columns = np.unique(np.asarray(second), return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)

    def pairs(n: Reals) -> float:
        return float((n * (n - 1) / 2).sum())

    together, of_rows, of_columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    chance = of_rows * of_columns / pairs(np.array([table.sum()]))
    return (together - chance) / ((of_rows + of_columns) / 2 - chance)


def misfit(observed: Reals, expected: Reals, variance: Reals, least: float = 5.0) -> float:
    """Mean square of standardised differences, over the cells that expect enough; near 1 if the model holds."""
    enough = expected >= least
    return float(((observed - expected)[enough] ** 2 / variance[enough]).mean())


def best_parents(used: npt.NDArray[np.bool_], node: int, most: int = 3) -> tuple[int, ...]:
    """The parents of a column among those before it, by the Bayesian information criterion."""
    candidates = [set_ for size in range(most + 1) for set_ in combinations(range(node), size)]
    return max(candidates, key=lambda parents: _bic(used, node, parents))


def _bic(used: npt.NDArray[np.bool_], node: int, parents: tuple[int, ...]) -> float:
    code = sum((used[:, parent].astype(int) << place for place, parent in enumerate(parents)), np.zeros(len(used), int))
    counts = np.zeros((2 ** len(parents), 2))
    np.add.at(counts, (code, used[:, node].astype(int)), 1)
    chance = (counts + 1e-9) / (counts + 1e-9).sum(axis=1, keepdims=True)
    return float((counts * np.log(chance)).sum() - 0.5 * np.log(len(used)) * 2 ** len(parents))


def logistic_regression(causes: Reals, effect: npt.NDArray[np.bool_]) -> tuple[Reals, Reals]:
    """Coefficients, the intercept first, and their standard errors, by Newton's method."""
    design = np.column_stack([np.ones(len(effect)), causes])
    coefficients = np.zeros(design.shape[1])
    for _ in range(12):
        chance = 1 / (1 + np.exp(-design @ coefficients))
        information = design.T @ (design * (chance * (1 - chance))[:, None])
        coefficients += np.linalg.solve(information, design.T @ (effect - chance))
    return coefficients, np.sqrt(np.diag(np.linalg.inv(information)))


def lagged_correlations(leader: Reals, follower: Reals, most: int) -> Reals:
    """Correlation of the follower with the leader so many steps before, for 0 to ``most`` steps."""
    return np.array([np.corrcoef(leader[: len(leader) - lag], follower[lag:])[0, 1] for lag in range(most + 1)])
