"""Kills a run at a chosen step, within this process, and leaves the files as SIGKILL would have left them.

Python still cleans up behind an exception, which a killed process does not: so the home folder is copied at the step,
and the copy takes its place once the exception has come through. Instead of a death anything else may happen at the
step, such as another run.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from fakes import Crash
from hypothesis import strategies as st

from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.warehouse import load_applying
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse

STEPS: dict[str, tuple[Any, str]] = {
    "batch of a chunk": (ChunkWriter, "write"),
    "wait for the disk": (os, "fsync"),
    "link of a record": (os, "link"),
    "file put in place": (os, "replace"),
    "file removed": (os, "unlink"),
    "offset record": (OffsetLog, "commit"),
    "rows of a load counted": (load_applying, "held"),  # the last step before the warehouse commits
    "load of a window": (DuckDBWarehouse, "load_window"),
}


@dataclass(frozen=True)
class Point:
    """Just before or just after the so-manieth step of a kind."""

    step: str
    number: int
    when: str


def points(*steps: str) -> st.SearchStrategy[Point]:
    """Points at steps of the given kinds, or of all."""
    kind, number = st.sampled_from(steps or sorted(STEPS)), st.sampled_from([1, 1, 2, 3, 5])
    return st.builds(Point, step=kind, number=number, when=st.sampled_from(["before", "after"]))


@contextmanager
def killed_at(point: Point | None, home: Path) -> Iterator[None]:
    """What runs inside dies at the point, if it gets there, and nothing is raised."""
    left = home.with_name("left_by_the_killed")

    def die() -> None:
        shutil.copytree(home, left)
        raise Crash

    try:
        with interrupted_at(point, die):
            yield
    except Crash:
        shutil.rmtree(home)
        left.rename(home)
    assert not left.exists(), "something caught what nothing may catch"


@contextmanager
def interrupted_at(point: Point | None, happens: Callable[[], None]) -> Iterator[None]:
    """Something happens once, at the point, to what runs inside."""
    if point is None:
        yield
        return
    owner, name = STEPS[point.step]
    original, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        now = calls == point.number
        if now and point.when == "before":
            happens()
        result = original(*args, **kwargs)
        if now and point.when == "after":
            happens()
        return result

    with mock.patch.object(owner, name, counted):
        yield
