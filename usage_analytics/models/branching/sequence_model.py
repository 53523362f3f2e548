"""What a challenger is to everything that asks it: a distribution over the next mini-app at each place of a session."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from usage_analytics.models.branching.arrays import Floats, Ints
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions


class SequenceModel(Protocol):
    """Predicts the next mini-app from all that came before it in the user session."""

    @property
    def mini_apps(self) -> tuple[str, ...]:
        """The vocabulary, sorted: what the columns of the probabilities are."""
        ...

    @property
    def reserved(self) -> float:
        """Probability kept for mini-apps outside the vocabulary, in each place; the columns share the rest."""
        ...

    def probabilities(self, sessions: CodedSessions) -> Floats:
        """The distribution over `mini_apps`, given that it is one of them: (predictions, mini_apps).

        Rows sum to one; they are in the order of the codes, one for each event but the first of a session.
        """
        ...


class Base(Protocol):
    """What tells of contexts alone what comes next: the counts, or what stands in their place."""

    def coded_probabilities(self, codes: Ints) -> Floats:
        """Of contexts (rows, longest), coded nearest first as the counts do: (rows, mini_apps); rows sum to one."""
        ...


def reserve(predictions: int) -> float:
    """The probability kept for mini-apps never seen in so many: as if the next one were of them."""
    return 1.0 / (predictions + 1)


class CountedSequences:
    """The count model as a sequence model; with another base, that base in the place of its counts."""

    def __init__(self, model: NGramModel, base: Base | None = None) -> None:
        self._base: Base = model if base is None else base
        self._longest = max(model.max_order, 1)
        self.mini_apps = model.mini_apps
        self.reserved = reserve(model.transitions)

    def probabilities(self, sessions: CodedSessions) -> Floats:
        """As `SequenceModel` says; equal contexts are asked for once."""
        distinct, rows = distinct_rows(sessions.contexts(self._longest))
        return self._base.coded_probabilities(distinct)[rows]


def distinct_rows(rows: Ints) -> tuple[Ints, Ints]:
    """The distinct rows of a matrix, and which of them each row is."""
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    return distinct, inverse.reshape(-1)
