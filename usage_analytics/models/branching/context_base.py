"""A challenger as a plan can use it: asked once after each context that the plan lists, in the place of the counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from usage_analytics.lake.files import naming
from usage_analytics.models.branching.arrays import Flags, Floats, Ints, Reals
from usage_analytics.models.branching.counts.context_levels import context_keys
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.counts.transition_counts import SESSION_START, UNKNOWN
from usage_analytics.models.branching.sequence_model import SequenceModel
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions

CONTEXTS_AT_ONCE = 4096  # bounds memory


class ContextBase:
    """A `Base` of listed contexts: any other is answered by the longest end of it that is listed, as in a plan."""

    def __init__(self, contexts: Ints, probabilities: Reals) -> None:
        """contexts: distinct codes (contexts, longest), nearest first, UNKNOWN where there are fewer; one has none.

        probabilities: (contexts, mini_apps). ValueError where no context is the empty one.
        """
        self.contexts, self.probabilities = contexts, probabilities
        self._codes = probabilities.shape[1] + 1
        self._levels = [self._level(order) for order in range(contexts.shape[1] + 1)]
        if not len(self._levels[0][0]):
            raise ValueError("the empty context is not listed, so some contexts have no answer")

    def coded_probabilities(self, codes: Ints) -> Floats:
        """As `Base` says."""
        places = np.full(len(codes), self._levels[0][1][0])
        for order, (keys, listed) in enumerate(self._levels):
            if order and len(keys):
                wanted, usable = context_keys(codes, self._codes, order)
                at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
                places = np.where(usable & (keys[at] == wanted), listed[at], places)
        return self.probabilities[places].astype(np.float64)

    def _level(self, order: int) -> tuple[Ints, Ints]:
        """The contexts of one order: their keys, rising, and their places."""
        listed = np.flatnonzero((self.contexts != UNKNOWN).sum(axis=1) == order)
        keys, _ = context_keys(self.contexts[listed], self._codes, order)
        rising = np.argsort(keys)
        return keys[rising], listed[rising]


def counted_base(counts: NGramModel, contexts: Ints, folder: Path) -> ContextBase:
    """What a plan tells by the counts; the answers lie in a file in ``folder``, which goes with the base."""
    return ContextBase(contexts, _in_portions(contexts, counts.coded_probabilities, len(counts.mini_apps), folder))


def challenged_base(challenger: SequenceModel, counts: NGramModel, contexts: Ints, folder: Path) -> ContextBase:
    """What it would tell by a challenger, asked as if each context were the whole user session so far.

    In the vocabulary of the counts: mini-apps that the challenger does not know keep what the counts give them. So does
    what opens a user session, which no challenger predicts. The answers lie in a file in ``folder``, which goes with
    the base.
    """
    own = {name: code for code, name in enumerate(challenger.mini_apps, start=1)}
    theirs = np.array([own.get(name, UNKNOWN) for name in counts.mini_apps], np.int64)
    known = np.flatnonzero(theirs != UNKNOWN)

    def asked(some: Ints) -> Floats:
        found, given = counts.coded_probabilities(some), some > SESSION_START
        asked_for = np.flatnonzero(some[:, 0] != SESSION_START)
        sessions = _as_sessions(np.where(given, theirs[np.maximum(some - 1, 0)], UNKNOWN), given)
        last = np.cumsum(sessions.lengths() - 1) - 1
        answers = challenger.probabilities(sessions)[last][:, theirs[known] - 1]
        shares = answers / answers.sum(axis=1, keepdims=True)
        told = np.ix_(asked_for, known)
        found[told] = (shares * found[:, known].sum(axis=1, keepdims=True))[asked_for]
        return found

    return ContextBase(contexts, _in_portions(contexts, asked, len(counts.mini_apps), folder))


def _as_sessions(contexts: Ints, given: Flags) -> CodedSessions:
    """Each context as a user session whose last event is to be predicted; the empty one has a single UNKNOWN event."""
    lengths = np.maximum(given.sum(axis=1), 1) + 1
    oldest_first = np.column_stack([contexts[:, ::-1], np.full(len(contexts), UNKNOWN)])
    inside = np.arange(oldest_first.shape[1]) >= oldest_first.shape[1] - lengths[:, None]
    starts: Ints = np.append(0, np.cumsum(lengths)).astype(np.int64)
    codes = oldest_first[inside]
    unknown = np.zeros(len(codes), np.int64)
    return CodedSessions(codes, starts, unknown, unknown, np.zeros(len(contexts), np.int64))


def _in_portions(contexts: Ints, asked: Callable[[Ints], Floats], mini_apps: int, folder: Path) -> Reals:
    """The answers (contexts, mini_apps), mapped: contexts times mini-apps may be more than memory holds."""
    with naming(folder), TemporaryFile(dir=folder) as file:  # it has no name: who dies leaves nothing
        for first in range(0, len(contexts), CONTEXTS_AT_ONCE):
            file.write(asked(contexts[first : first + CONTEXTS_AT_ONCE]).astype(np.float32).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(len(contexts), mini_apps))
