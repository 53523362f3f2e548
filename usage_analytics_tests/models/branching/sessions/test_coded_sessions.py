"""User sessions end to end, against the same sessions one by one."""

from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.counts.transition_counts import SESSION_START, UNKNOWN
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions

sequences = st.lists(st.lists(st.sampled_from([UNKNOWN, 1, 2, 3]), max_size=6), max_size=8)


@given(sequences, st.integers(1, 5))
def test_each_event_but_the_first_has_what_came_before_it(given_sequences: list[list[int]], longest: int) -> None:
    sessions = CodedSessions.of(given_sequences)
    contexts, following, numbers = [], [], []
    for number, sequence in enumerate(given_sequences):
        for place in range(1, len(sequence)):
            before = sequence[:place][::-1][:longest]
            contexts.append(before + [SESSION_START] * (longest - len(before)))
            following.append(sequence[place])
            numbers.append(number)
    assert len(sessions) == len(given_sequences)
    assert sessions.contexts(longest).tolist() == contexts
    assert sessions.following().tolist() == following
    assert sessions.sessions_of_predictions().tolist() == numbers
