"""What stands in the place of the counts answers as a plan does: by the longest end of a context that is listed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching import context_base
from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.context_base import ContextBase, challenged_base, counted_base
from usage_analytics.models.branching.counts.transition_counts import SESSION_START, UNKNOWN
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics_tests.serving.small_models import APPS, fit

walks = st.lists(st.lists(st.sampled_from(APPS), min_size=2, max_size=6), min_size=1, max_size=10)
codes = st.integers(UNKNOWN, len(APPS))


class Listener:
    """Writes down each session that it is asked about; three times in four it expects what came first."""

    reserved = 0.01

    def __init__(self, *mini_apps: str) -> None:
        self.mini_apps = mini_apps
        self.heard: list[tuple[str, ...]] = []

    def probabilities(self, sessions: CodedSessions) -> Floats:
        found = []
        for begin, end in zip(sessions.starts[:-1], sessions.starts[1:], strict=True):
            names = tuple(self.mini_apps[code - 1] if code > 0 else "?" for code in sessions.codes[begin : end - 1])
            self.heard.append(names)
            row = np.full(len(self.mini_apps), 0.25 / (len(self.mini_apps) - 1))
            row[max(int(sessions.codes[begin]) - 1, 0)] = 0.75
            found += [row] * len(names)
        return np.array(found)


@given(walks, st.lists(st.tuples(codes, codes, codes), min_size=1), st.randoms())
def test_any_context_is_answered_by_its_longest_listed_end(
    tmp_path_factory: pytest.TempPathFactory,
    learned: list[list[str]],
    asked: list[tuple[int, int, int]],
    chance: Random,
) -> None:
    counts = fit(*learned)
    known = [*counts.contexts(3)[1:], *counts.contexts_from_start(3)]
    listed = [(), *(context for context in known if chance.random() < 0.7)]
    base = counted_base(counts, counts.encode(listed), tmp_path_factory.getbasetemp())
    own = counts.probabilities(listed)
    names = (None, *counts.mini_apps)
    contexts = np.minimum(np.array(asked), len(counts.mini_apps))
    for context, found in zip(contexts.tolist(), base.coded_probabilities(contexts), strict=True):
        known = [code for place, code in enumerate(context) if min([*context[:place], 1]) > SESSION_START <= code]
        ends = [tuple(names[code] for code in reversed(known[:length])) for length in range(len(known) + 1)]
        longest = max((end for end in ends if end in listed), key=len)
        np.testing.assert_allclose(found, own[listed.index(longest)], rtol=1e-6)


def test_a_challenger_is_asked_once_as_if_each_context_were_all_there_is(tmp_path: Path) -> None:
    counts = fit(["chart", "chat", "quotes", "chart"], ["quotes", "chat"])
    listed = [(), ("chart",), ("chat", "quotes"), ("chart", "chat", "quotes")]
    challenger = Listener("chart", "chat", "quotes")
    base = challenged_base(challenger, counts, counts.encode(listed), tmp_path)
    assert challenger.heard == [("?",), *listed[1:]]
    found = base.coded_probabilities(counts.encode([*listed, ("quotes", "chart", "chat", "quotes")]))
    assert found[1:].argmax(axis=1).tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)
    assert challenger.heard == [("?",), *listed[1:]], "the answers are kept"


def test_what_opens_a_user_session_is_left_to_the_counts(tmp_path: Path) -> None:
    counts = fit(["chart", "chat", "quotes"], ["chart", "quotes"])
    listed = [(), ("chart",), (None,), (None, "chart")]
    base = challenged_base(Listener("chart", "chat", "quotes"), counts, counts.encode(listed), tmp_path)
    found = base.coded_probabilities(counts.encode(listed))
    np.testing.assert_allclose(found[2], counts.probabilities([(None,)])[0], rtol=1e-6)
    np.testing.assert_allclose(found[3], found[1], rtol=1e-6)
    assert found[1, 0] == pytest.approx(0.75)


def test_mini_apps_that_a_challenger_does_not_know_keep_what_the_counts_give_them(tmp_path: Path) -> None:
    counts = fit(["chart", "chat", "quotes", "blotter", "chart"], ["quotes", "chart"])
    listed = [(), ("chart",), ("blotter",)]
    challenger = Listener("ladder", "chart", "quotes")  # and it knows one that the counts do not
    found = challenged_base(challenger, counts, counts.encode(listed), tmp_path).coded_probabilities(
        counts.encode(listed)
    )
    counted = counts.probabilities(listed)
    unknown = [counts.mini_apps.index(name) for name in ("blotter", "chat")]
    known = [counts.mini_apps.index(name) for name in ("chart", "quotes")]
    np.testing.assert_allclose(found[:, unknown], counted[:, unknown], rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)
    assert found[1, known[0]] / found[1, known[1]] == pytest.approx(0.75 / 0.125)
    assert challenger.heard[2] == ("?",)


def test_without_the_empty_context_some_have_no_answer() -> None:
    with pytest.raises(ValueError, match="the empty context is not listed"):
        ContextBase(np.array([[1, UNKNOWN, UNKNOWN]]), np.ones((1, 4), np.float32))


def test_memory_holds_a_portion_of_the_answers_and_the_disk_the_rest_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_base, "CONTEXTS_AT_ONCE", 50)
    names = [f"app {number:02}" for number in range(40)]
    chance = Random(3)
    counts = fit([chance.choice(names) for _ in range(6_000)])
    contexts = counts.encode([(), *(context for context in counts.contexts(3) if context)])
    tracemalloc.start()
    base = counted_base(counts, contexts, tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert base.probabilities.shape == (len(contexts), 40) and len(contexts) > 6_000
    assert most < base.probabilities.nbytes
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_allclose(base.coded_probabilities(contexts), counts.coded_probabilities(contexts), rtol=1e-6)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    counts = fit(["chart", "chat"])
    with pytest.raises(OSError, match="nowhere"):
        counted_base(counts, counts.encode([()]), tmp_path / "nowhere")
