"""Arrays and facts come back as they were written, or it is said what is wrong with their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.models.branching.array_file import read_arrays, write_arrays

KIND = "file of a test"
ARRAYS = {"weights": np.arange(4000, dtype=np.float32).reshape(40, 100), "names": np.array([3, 1], np.int64)}


def written(path: Path) -> Path:
    write_arrays(path, KIND, {"mini_apps": ["chart", "quotes"]}, ARRAYS)
    return path


def test_what_is_written_is_read_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "day" / "model.npz"
    write_arrays(path, KIND, {}, {"weights": np.zeros(3)})
    facts, arrays = read_arrays(written(path), KIND)
    assert facts == {"mini_apps": ["chart", "quotes"]} and arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], values, strict=True)
    assert [file.name for file in path.parent.iterdir()] == ["model.npz"]


@given(st.floats(0.0, 0.999))
def test_a_file_cut_short_is_named(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = written(tmp_path_factory.mktemp("models") / "cut.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cut\.npz is broken or is no file of a test"):
        read_arrays(path, KIND)


def test_a_changed_byte_or_another_kind_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "model.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.npz is broken"):
        read_arrays(path, KIND)
    np.savez(path, weights=np.ones(3))
    with pytest.raises(UserError, match=r"model\.npz is broken or is no file of a test"):
        read_arrays(path, KIND)
    with pytest.raises(UserError, match=r"model\.npz is file of a test, version 1; needed is another, version 1"):
        read_arrays(written(path), "another")
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent.npz", KIND)
