"""Held-out user sessions as moments at which something may be preloaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np

from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.sequence_model import SequenceModel
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, SessionBatch, read_sessions
from usage_analytics.models.branching.training import MODEL, SESSIONS
from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.decisions.moments import NONE, KnownMoments, Moments, Transitions

MOST_CELLS = 32_000_000  # moments times mini-apps: each takes 8 bytes


def moments_in(batch: SessionBatch, probabilities: Floats) -> KnownMoments:
    """Every event but the first of a user session is a moment at price 1, with what is expected there.

    probabilities: (predictions, mini_apps), of the vocabulary that the sessions are coded by.
    """
    sessions = batch.sessions
    events = sessions.predicted()
    return KnownMoments(
        probabilities,
        Moments(np.maximum(sessions.codes[events - 1] - 1, NONE), np.ones(len(events))),
        Transitions(
            moment=np.arange(len(events)),
            next=np.maximum(sessions.codes[events] - 1, NONE),
            transitions=np.ones(len(events), np.int64),
            dwell_ms=(batch.times_us[events] - batch.times_us[events - 1]) / 1e3,
        ),
    )


def known_moments(model: SequenceModel, batches: Iterable[SessionBatch]) -> KnownMoments:
    """Every event but the first of a user session is a moment, with what the model expects there, at price 1.

    The sessions are coded by the model's vocabulary; no more than MOST_CELLS are taken. ValueError when there is none.
    """
    found = _moments(model, batches)
    if found is None:
        raise ValueError("no user session holds a second event: there is nothing to replay")
    return found


def moments_of(layout: Layout, trading_day: date, model: FactoredModel) -> KnownMoments | None:
    """What a model expects at the moments of a trading day's sampled user sessions; None where there are none."""
    sessions = layout.model(MODEL, trading_day) / SESSIONS
    return _moments(model, read_sessions([sessions], model.mini_apps, range(FOLDS), model.known))


def _moments(model: SequenceModel, batches: Iterable[SessionBatch]) -> KnownMoments | None:
    """As `known_moments`; None where no user session holds a second event."""
    parts: list[KnownMoments] = []
    most = MOST_CELLS // len(model.mini_apps)
    for batch in batches:
        if len(batch.sessions.following()):
            parts.append(moments_in(batch, model.probabilities(batch.sessions)))
        if sum(len(part.moments) for part in parts) >= most:
            break
    return _first_of(parts, most) if parts else None


def _first_of(parts: Sequence[KnownMoments], most: int) -> KnownMoments:
    probabilities = np.concatenate([part.probabilities for part in parts])[:most]
    return KnownMoments(
        probabilities,
        Moments(
            np.concatenate([part.moments.current for part in parts])[:most],
            np.concatenate([part.moments.price for part in parts])[:most],
        ),
        Transitions(
            moment=np.arange(len(probabilities)),
            next=np.concatenate([part.transitions.next for part in parts])[:most],
            transitions=np.concatenate([part.transitions.transitions for part in parts])[:most],
            dwell_ms=np.concatenate([part.transitions.dwell_ms for part in parts])[:most],
        ),
    )
