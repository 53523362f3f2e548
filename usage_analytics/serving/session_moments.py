"""Held-out user sessions as moments at which something may be preloaded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from usage_analytics.models.branching.sequence_model import SequenceModel
from usage_analytics.models.branching.user_sessions import SessionBatch
from usage_analytics.serving.held_out import NONE, HeldOut, Moments, Transitions

MOST_CELLS = 32_000_000  # moments times mini-apps: each takes 8 bytes


def held_out_moments(model: SequenceModel, batches: Iterable[SessionBatch]) -> HeldOut:
    """Every event but the first of a user session is a moment, with what the model expects there, at price 1.

    The sessions are coded by the model's vocabulary; no more than MOST_CELLS are taken. ValueError when there is none.
    """
    probabilities, current, following, dwell_ms = [], [], [], []
    left = MOST_CELLS // len(model.mini_apps)
    for batch in batches:
        sessions = batch.sessions
        events = np.delete(np.arange(len(sessions.codes)), sessions.starts[:-1])[:left]
        left -= len(events)
        probabilities.append(model.probabilities(sessions)[: len(events)])
        current.append(sessions.codes[events - 1] - 1)
        following.append(sessions.codes[events] - 1)
        dwell_ms.append((batch.times_us[events] - batch.times_us[events - 1]) / 1e3)
        if left <= 0:
            break
    count = sum(map(len, following))
    if not count:
        raise ValueError("no user session holds a second event: there is nothing to replay")
    return HeldOut(
        np.concatenate(probabilities),
        Moments(np.maximum(np.concatenate(current), NONE), np.ones(count)),
        Transitions(
            moment=np.arange(count),
            next=np.maximum(np.concatenate(following), NONE),
            transitions=np.ones(count, np.int64),
            dwell_ms=np.concatenate(dwell_ms),
        ),
    )
