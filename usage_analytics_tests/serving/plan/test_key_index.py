"""Keys are found as plain bisection finds them, however they spread."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.serving.plan.key_index import KeyIndex

ANY = st.integers(0, 2**64 - 1)
CLOSE = st.integers(2**63, 2**63 + 50)
KEYS = st.sets(st.one_of(ANY, st.integers(0, 100), CLOSE), max_size=200).map(sorted)


@given(KEYS, st.lists(st.one_of(ANY, st.integers(0, 100), CLOSE), max_size=50))
def test_every_key_is_found_where_it_stands_and_no_other(keys: list[int], others: list[int]) -> None:
    asked = np.array([*keys, *others], dtype=np.uint64)
    positions, known = KeyIndex(np.array(keys, dtype=np.uint64)).find(asked)
    where = {key: position for position, key in enumerate(keys)}
    for key, position, is_known in zip(asked.tolist(), positions.tolist(), known.tolist(), strict=True):
        assert is_known == (key in where)
        assert not is_known or position == where[key]


def test_many_keys_in_two_dimensions() -> None:
    keys = np.sort(np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64))
    positions, known = KeyIndex(keys).find(np.stack([keys, keys + np.uint64(1)]))
    assert known[0].all()
    assert (positions[0] == np.arange(len(keys))).all()
    assert not known[1].any()
