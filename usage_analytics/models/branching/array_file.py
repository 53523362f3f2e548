"""A model's arrays and facts in one file (NumPy's npz), written whole or not at all, and checked when read."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usage_analytics.errors import UserError
from usage_analytics.lake.files import naming, publish, temporary_beside

Arrays = dict[str, npt.NDArray[Any]]

FORMAT_VERSION = 1
_ABOUT = "about"
_BROKEN = (
    OSError, ValueError, KeyError, EOFError, AttributeError, NotImplementedError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def write_arrays(path: Path, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Replace what stands under a name, durably; facts are whatever JSON holds."""
    about = json.dumps({"kind": kind, "format_version": FORMAT_VERSION, **facts})
    temporary = temporary_beside(path)
    try:
        with naming(path), temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{_ABOUT: np.array(about)}, **arrays)
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_arrays(path: Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """Facts and arrays that `write_arrays` wrote.

    FileNotFoundError; `UserError` naming a file that is broken or of another kind.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        facts = json.loads(str(arrays.pop(_ABOUT)))
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise UserError(f"{path} is broken or is no {kind}: {error}") from None
    found = facts.pop("kind", None), facts.pop("format_version", None)
    if found != (kind, FORMAT_VERSION):
        raise UserError(f"{path} is {found[0]}, version {found[1]}; needed is {kind}, version {FORMAT_VERSION}")
    return facts, arrays
