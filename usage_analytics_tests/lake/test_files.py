"""Durable steps: whole, or not at all."""

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from usage_analytics.lake.files import IN_PROGRESS, create_exclusive, publish, remove, temporary_beside
from usage_analytics.lake.sealed_parquet import write_sealed


def test_publish_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for content in (b"one", b"two"):
        temporary = temporary_beside(path)
        assert temporary.name.endswith(IN_PROGRESS)
        temporary.write_bytes(content)
        publish(temporary, path)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_temporary_names_differ(tmp_path: Path) -> None:
    assert len({temporary_beside(tmp_path / "file") for _ in range(100)}) == 100


def test_create_exclusive_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert create_exclusive(path, b"first")
    assert not create_exclusive(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_one_of_many_racing_creators_wins(memory_path: Path) -> None:
    for attempt in range(20):
        path = memory_path / str(attempt)
        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(lambda n, p=path: create_exclusive(p, str(n).encode() * 1000), range(8)))
        assert created.count(True) == 1
        assert path.read_bytes() == str(created.index(True)).encode() * 1000


def test_a_crash_while_creating_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "link", crash)
    with pytest.raises(OSError, match="disk full"):
        create_exclusive(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_remove_is_idempotent(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    remove(path)
    remove(path)
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*record\.json"):
            create_exclusive(tmp_path / "record.json", b"x" * 2_000)
        with pytest.raises(OSError, match=r"File too large: '.*events\.parquet"):
            write_sealed(pa.table({"n": list(range(2_000))}), tmp_path / "events.parquet", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
