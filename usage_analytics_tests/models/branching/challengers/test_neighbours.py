"""Session-kNN's scores, against the definition written out session by session."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.challengers.neighbours import NeighbourSettings, neighbour_shares
from usage_analytics.models.branching.challengers.recent_sessions import recent_sessions
from usage_analytics.models.branching.counts.transition_counts import SESSION_START, UNKNOWN
from usage_analytics_tests.models.branching.challengers.planted_sessions import batch_of

APPS = 5
codes = st.sampled_from([UNKNOWN, 1, 2, 3, 4, 5])


def by_definition(past: list[list[int]], context: list[int], settings: NeighbourSettings) -> list[float]:
    """Shares of the votes; `past` is in the order of time, the context nearest first."""
    running = [code for code in context if code != SESSION_START]
    weights: dict[int, float] = {}
    places: dict[int, int] = {}
    for place, code in enumerate(running, start=1):
        if code > 0 and code not in places:
            weights[code], places[code] = (len(running) - place + 1) / len(running), place
    sharing = [set(session) for session in reversed(past) if set(session) & set(weights)][: settings.compared]
    similar = sorted(sharing, key=lambda session: -sum(weights.get(code, 0.0) for code in sorted(session)))
    scores = [0.0] * APPS
    for session in similar[: settings.neighbours]:
        shared = session & set(weights)
        vote = sum(weights[code] for code in shared) / min(places[code] for code in shared)
        for code in session:
            if code > 0:
                scores[code - 1] += vote
    total = sum(scores)
    return [each / total for each in scores] if total else scores


@given(
    st.lists(st.lists(codes, min_size=1, max_size=4), min_size=1, max_size=20),
    st.lists(st.lists(codes, min_size=1, max_size=4), min_size=1, max_size=5),
)
def test_shares_are_as_defined(past: list[list[int]], running: list[list[int]]) -> None:
    settings = NeighbourSettings(compared=6, neighbours=20, longest=4)  # all compared vote: ties cannot matter
    batch = batch_of(["someone"] * len(past), past)
    recent = recent_sessions([batch], APPS, settings.compared)
    contexts = np.array([each + [SESSION_START] * (4 - len(each)) for each in running])
    found = neighbour_shares(recent, contexts, APPS, settings)
    expected = [by_definition(past, context, settings) for context in contexts.tolist()]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_only_the_most_similar_vote_and_of_equals_the_most_recent() -> None:
    past = [[1, 2, 3], [1, 2, 4], [1, 5]]
    batch = batch_of(["someone"] * 3, past)
    recent = recent_sessions([batch], APPS, 10)
    settings = NeighbourSettings(compared=10, neighbours=1, longest=3)
    found = neighbour_shares(recent, np.array([[1, 2, SESSION_START]]), APPS, settings)
    np.testing.assert_allclose(found, [[1 / 3, 1 / 3, 0, 1 / 3, 0]])


def test_nothing_known_has_no_neighbours() -> None:
    batch = batch_of(["someone"], [[1, 2]])
    recent = recent_sessions([batch], APPS, 10)
    contexts = np.array([[UNKNOWN, SESSION_START], [5, UNKNOWN]])
    settings = NeighbourSettings(10, 10, 2)
    np.testing.assert_array_equal(neighbour_shares(recent, contexts, APPS, settings), np.zeros((2, APPS)))
