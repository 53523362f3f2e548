"""Users by number: found again, in whatever order they came, and no user who is not there."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.models.branching.users.user_classes import NO_CLASS, NO_CLASSES, UserClasses, user_key, user_keys

pseudonyms = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}{'0' * 16}")


@given(st.dictionaries(pseudonyms, st.integers(1, 255), max_size=20), st.lists(pseudonyms, max_size=5))
def test_each_user_has_the_class_that_was_given(classes: dict[str, int], others: list[str]) -> None:
    keys = user_keys(pa.array(list(classes), pa.string()))
    found = UserClasses.gathered(keys, np.array(list(classes.values()), np.uint8))
    asked = [*classes, *others]
    expected = [classes.get(user, NO_CLASS) for user in asked]
    assert found.of(pa.array(asked, pa.string())).tolist() == expected


def test_without_classes_nobody_has_one_whoever_it_is() -> None:
    assert NO_CLASSES.of(pa.array(["somebody"])).tolist() == [NO_CLASS]


@pytest.mark.parametrize("user", ["", "somebody", "A" * 32, "0" * 31, "0" * 33])
def test_what_is_no_pseudonym_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="a user is a pseudonym, 32 hexadecimal digits, not"):
        user_key(user)
