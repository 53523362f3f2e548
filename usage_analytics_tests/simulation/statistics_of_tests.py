"""Textbook statistics that the recovery tests need, in a few lines each."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def mixture_of_multinomials(counts: Reals, components: int, seed: int, restarts: int = 6) -> tuple[Ints, Reals]:
    """Label of each row and share of each component, by expectation maximisation from rows far apart."""
    best: tuple[float, Ints, Reals] | None = None
    for restart in range(restarts):
        chance = np.random.default_rng([seed, restart])
        profiles = _far_apart(counts, components, chance)
        shares = np.full(components, 1 / components)
        for _ in range(60):
            joint = counts @ np.log(profiles).T + np.log(shares)
            likelihood = np.logaddexp.reduce(joint, axis=1)
            weights = np.exp(joint - likelihood[:, None])
            shares = np.maximum(weights.mean(axis=0), 1e-9)
            profiles = weights.T @ counts + 0.5
            profiles /= profiles.sum(axis=1, keepdims=True)
        if best is None or likelihood.sum() > best[0]:
            best = (float(likelihood.sum()), weights.argmax(axis=1), shares)
    assert best is not None
    return best[1], best[2]


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


def lagged_correlations(leader: Reals, follower: Reals, most: int) -> Reals:
    """Correlation of the follower with the leader so many steps before, for 0 to ``most`` steps."""
    return np.array([np.corrcoef(leader[: len(leader) - lag], follower[lag:])[0, 1] for lag in range(most + 1)])
