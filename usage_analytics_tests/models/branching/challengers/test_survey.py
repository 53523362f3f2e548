"""What user sessions hold, counted once over the files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.models.branching.challengers.survey import survey
from usage_analytics_tests.models.branching.challengers.planted_sessions import write_sessions

ALL = (0, 1, 2, 3, 4)
SESSIONS = [["quotes", "chart", "quotes"], ["chat"], ["blotter", "chart"], ["chart", "chart", "chat", "quotes"]]

some_sessions = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=7), min_size=1, max_size=30)


@given(some_sessions)
def test_a_survey_counts_what_follows(tmp_path_factory: pytest.TempPathFactory, sessions: list[list[str]]) -> None:
    path = write_sessions(tmp_path_factory.mktemp("sessions") / "day.parquet", sessions, row_group=4)
    followed = Counter(name for each in sessions for name in each[1:])
    if not followed:
        with pytest.raises(UserError, match=r"day\.parquet: .* nothing to learn from"):
            survey([path], ALL)
        return
    found = survey([path], ALL)
    assert found.mini_apps == tuple(sorted({name for each in sessions for name in each}))
    assert dict(zip(found.mini_apps, found.followed.tolist(), strict=True)) == {a: followed[a] for a in found.mini_apps}
    assert (found.sessions, found.predictions) == (len(sessions), followed.total())
    assert found.frequencies().sum() == pytest.approx(1.0)
    assert (found.frequencies() > 0).all()


def test_the_vocabulary_is_of_the_asked_folds_alone(tmp_path: Path) -> None:
    path = write_sessions(tmp_path / "sessions.parquet", SESSIONS)
    assert survey([path], [0]).mini_apps == ("chart", "quotes")
    np.testing.assert_array_equal(survey([path], [0]).followed, [1, 1])


def test_where_there_is_nothing_to_learn_from_it_is_said_of_what(tmp_path: Path) -> None:
    path = write_sessions(tmp_path / "sessions.parquet", SESSIONS)
    with pytest.raises(UserError, match=r"sessions\.parquet: no user session of fold 4 has a second event"):
        survey([path], [4])
    with pytest.raises(UserError, match="no file of user sessions: no user session of fold 0, 1 has"):
        survey([], [0, 1])
