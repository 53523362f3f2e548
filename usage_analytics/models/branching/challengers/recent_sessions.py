"""The most recent user sessions of each mini-app, bounded however many come: what running ones are compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from usage_analytics.models.branching.arrays import Ints
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch


@dataclass(frozen=True)
class RecentSessions:
    """User sessions as sets of mini-apps, the most recent first, and which of them each mini-app was opened in."""

    starts: Ints  # (sessions + 1,) the mini-apps of session i lie at starts[i]:starts[i + 1]
    opened: Ints  # positions in the vocabulary
    app_starts: Ints  # (mini_apps + 1,) the sessions of mini-app a lie at app_starts[a]:app_starts[a + 1]
    holders: Ints  # sessions, the most recent first

    def with_app(self, app: int) -> Ints:
        """The most recent sessions that opened a mini-app, the most recent first."""
        return self.holders[self.app_starts[app] : self.app_starts[app + 1]]


def recent_sessions(batches: Iterable[SessionBatch], mini_apps: int, most: int) -> RecentSessions:
    """Keep the `most` sessions of each mini-app that ended last; of two that ended at once, the one read last."""
    kept = _Pairs(*(np.empty(0, np.int64) for _ in range(3)))
    read = 0
    for batch in batches:
        kept = _latest(_joined(kept, _pairs(batch, read)), most)
        read += len(batch.sessions)
    return _index(kept, mini_apps)


@dataclass(frozen=True)
class _Pairs:
    """A session and one of its mini-apps, each pair once: (pairs,) each."""

    ended_us: Ints
    sessions: Ints  # in the order of reading
    apps: Ints


def _pairs(batch: SessionBatch, read: int) -> _Pairs:
    rows = np.repeat(np.arange(len(batch.sessions)), batch.sessions.lengths())
    base = int(batch.sessions.codes.max(initial=0)) + 1
    known = batch.sessions.codes > 0
    rows, codes = np.divmod(np.unique(rows[known] * base + batch.sessions.codes[known]), base)
    return _Pairs(batch.ended_us[rows], rows + read, codes - 1)


def _joined(first: _Pairs, second: _Pairs) -> _Pairs:
    return _Pairs(
        np.concatenate([first.ended_us, second.ended_us]),
        np.concatenate([first.sessions, second.sessions]),
        np.concatenate([first.apps, second.apps]),
    )


def _latest(pairs: _Pairs, most: int) -> _Pairs:
    """Drop the sessions that are not among the latest of any of their mini-apps."""
    order = np.lexsort((-pairs.sessions, -pairs.ended_us, pairs.apps))
    counts = np.bincount(pairs.apps)
    places = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.isin(pairs.sessions, pairs.sessions[order[places < most]])
    return _Pairs(pairs.ended_us[wanted], pairs.sessions[wanted], pairs.apps[wanted])


def _index(pairs: _Pairs, mini_apps: int) -> RecentSessions:
    order = np.lexsort((pairs.apps, -pairs.sessions, -pairs.ended_us))
    sessions, opened = pairs.sessions[order], pairs.apps[order]
    begins = np.flatnonzero(np.diff(sessions, prepend=-1))
    starts = np.append(begins, len(sessions)).astype(np.int64)
    numbers = np.repeat(np.arange(len(begins)), np.diff(starts))
    by_app = np.argsort(opened, kind="stable")
    counts = np.bincount(opened, minlength=mini_apps)
    return RecentSessions(starts, opened, np.append(0, np.cumsum(counts)).astype(np.int64), numbers[by_app])
