"""Which class each user is of: pseudonyms as numbers, in order, and a small number each."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from usage_analytics.models.branching.arrays import Ints

Keys = npt.NDArray[np.uint64]

NO_CLASS = 0
PSEUDONYM = re.compile(r"[0-9a-f]{32}")
KEY_DIGITS = 16  # of a pseudonym's 32 hexadecimal digits: two of a million users share them once in 10^7 times


@dataclass(frozen=True)
class UserClasses:
    """The users that have a class; all others are of NO_CLASS."""

    keys: Keys  # (users,) rising; see `user_keys`
    classes: npt.NDArray[np.uint8]  # (users,) from 1 on

    @classmethod
    def gathered(cls, keys: Keys, classes: npt.NDArray[np.uint8]) -> UserClasses:
        """In whatever order; of two users with one key, either."""
        keys, first = np.unique(keys, return_index=True)
        return cls(keys, classes[first])

    def of(self, user_ids: pa.StringArray) -> Ints:
        """The class of each user: (users,)."""
        if not len(self.keys):
            return np.full(len(user_ids), NO_CLASS, np.int64)
        keys = user_keys(user_ids)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.classes[places], NO_CLASS).astype(np.int64)


NO_CLASSES = UserClasses(np.empty(0, np.uint64), np.empty(0, np.uint8))


def user_key(pseudonym: str) -> int:
    """The number under which a user is kept: the first 64 bits of the pseudonym. ValueError if it is none."""
    if not PSEUDONYM.fullmatch(pseudonym):
        raise ValueError(f"a user is a pseudonym, 32 hexadecimal digits, not {pseudonym!r}")
    return int(pseudonym[:KEY_DIGITS], 16)


def user_keys(user_ids: pa.StringArray) -> Keys:
    """`user_key` of each: (users,)."""
    return np.array([user_key(user) for user in user_ids.to_pylist()], np.uint64)
