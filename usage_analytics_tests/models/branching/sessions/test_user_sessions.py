"""Files of user sessions: what is written is read, whoever wrote it, and what breaks the schema is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.models.branching.sessions import user_sessions
from usage_analytics.models.branching.sessions.user_sessions import SESSION_SCHEMA, read_sessions, row_groups
from usage_analytics_tests.models.branching.challengers.planted_sessions import session_table, write_sessions

ALL = (0, 1, 2, 3, 4)
SESSIONS = [["quotes", "chart", "quotes"], ["chat"], ["blotter", "chart"], ["chart", "chart", "chat", "quotes"]]

some_sessions = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=7), min_size=1, max_size=30)


def read_back(
    paths: list[Path], mini_apps: tuple[str, ...], folds: tuple[int, ...]
) -> list[tuple[str, int, list[str]]]:
    """User, end and mini-apps of each session; a dash for what is UNKNOWN."""
    found = []
    for batch in read_sessions(paths, mini_apps, folds):
        starts, names = batch.sessions.starts, ("-", "", *mini_apps)
        told = [names[code + 1] for code in batch.sessions.codes]
        rows = zip(batch.user_ids.to_pylist(), batch.ended_us.tolist(), starts[:-1], starts[1:], strict=True)
        found += [(user, ended, told[begin:end]) for user, ended, begin, end in rows]
    return found


@given(some_sessions, st.lists(st.sampled_from(ALL), min_size=30, max_size=30), st.integers(1, 9), st.integers(1, 12))
def test_what_is_written_is_read_in_order_and_in_pieces(
    tmp_path_factory: pytest.TempPathFactory, sessions: list[list[str]], folds: list[int], row_group: int, most: int
) -> None:
    path = tmp_path_factory.mktemp("sessions") / "day.parquet"
    write_sessions(path, sessions, folds[: len(sessions)], row_group)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(user_sessions, "EVENTS_AT_ONCE", most)
        patched.setattr(user_sessions, "_SESSIONS_AT_ONCE", 4)
        found = read_back([path], ("a", "b", "d"), (1, 3))
        pieces = [len(batch.sessions.codes) for batch in read_sessions([path], ("a",), ALL)]
    expected = [
        (f"user-{n:05d}", n * 60_000_000 + len(each) - 1, [name if name in "abd" else "-" for name in each])
        for n, each in enumerate(sessions)
        if folds[n] in (1, 3)
    ]
    assert found == expected
    assert max(pieces) <= max(most, *map(len, sessions))


def written_by_polars(path: Path) -> None:
    pl.from_arrow(session_table(SESSIONS)).write_parquet(path)  # type: ignore[union-attr]


def written_by_duckdb(path: Path) -> None:
    sessions = session_table(SESSIONS)
    with duckdb.connect() as connection:
        connection.register("sessions", sessions)
        connection.execute(f"COPY sessions TO '{path}' (FORMAT parquet)")


def written_with_more_columns(path: Path) -> None:
    pq.write_table(session_table(SESSIONS).append_column("client_firm", pa.array(["Firm"] * len(SESSIONS))), path)


@pytest.mark.parametrize("write", [written_by_polars, written_by_duckdb, written_with_more_columns])
def test_other_writers_files_are_read(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "theirs.parquet")
    ours = write_sessions(tmp_path / "ours.parquet", SESSIONS)
    apps = ("blotter", "chart", "chat", "quotes")
    assert read_back([tmp_path / "theirs.parquet"], apps, ALL) == read_back([ours], apps, ALL)


def test_files_follow_one_another_and_a_part_can_be_told_from_a_changed_one(tmp_path: Path) -> None:
    first = write_sessions(tmp_path / "first.parquet", SESSIONS, row_group=3)
    second = write_sessions(tmp_path / "second.parquet", SESSIONS[:1])
    groups = row_groups([first, second])
    assert [(group.path, group.number, group.rows) for group in groups] == [
        (first, 0, 3),
        (first, 1, 1),
        (second, 0, 1),
    ]
    assert len(read_back([first, second], ("chart",), ALL)) == 5
    write_sessions(second, [["quotes", "chart", "chat"]])
    assert row_groups([first, second])[:2] == groups[:2]
    assert row_groups([first, second])[2] != groups[2]


def replaced(name: str, values: list[object], kind: pa.DataType | None = None) -> pa.Table:
    """The usual sessions with one column's values changed."""
    table = session_table(SESSIONS)
    place = SESSION_SCHEMA.get_field_index(name)
    return table.set_column(place, name, pa.array(values, kind or SESSION_SCHEMA.field(name).type))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (session_table(SESSIONS).drop_columns(["fold", "times_us"]), "it lacks the columns fold, times_us"),
        (
            replaced("mini_apps", ["quotes"] * 4, pa.string()),
            "mini_apps holds string, where list<.*> is needed",
        ),
        (replaced("fold", [0, 1, 2, 5]), r"user-00003 on 2026-11-23, number 1, is of no fold from 0 to 4"),
        (replaced("fold", [0, -1, 2, 3]), r"user-00001 on 2026-11-23, number 1, is of no fold from 0 to 4"),
        (replaced("fold", [0, None, None, 3]), "2 user sessions have no fold"),
        (replaced("times_us", [[1], [1], [1, 2], [1, 2, 3, 4]]), "user-00000 .* has not one time for each mini-app"),
        (replaced("times_us", [[1, 3, 2], [1], [1, 2], [1, 2, 3, 4]]), "not in the order of its times"),
        (replaced("times_us", [[1, 2, 3], [1], [1, 2], [4, 3, 3, 4]]), "not in the order of its times"),
        (replaced("mini_apps", [["a", None, "a"], ["a"], ["a"] * 2, ["a"] * 4]), "a time in a user session is null"),
        (
            session_table([["quotes", "chart"], []]),
            "user-00001 on 2026-11-23, number 1, has no event",
        ),
    ],
)
def test_what_breaks_the_schema_is_named(tmp_path: Path, table: pa.Table, told: str) -> None:
    path = tmp_path / "sessions.parquet"
    pq.write_table(table.cast(pa.schema([field.with_nullable(True) for field in table.schema])), path)  # let nulls in
    with pytest.raises(UserError, match=rf"sessions\.parquet: .*{told}"):
        list(read_sessions([path], ("quotes",), ALL))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.parquet: there is no such file of user sessions"):
        list(read_sessions([tmp_path / "absent.parquet"], (), ALL))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_file_cut_short_is_named(tmp_path: Path, share: float) -> None:
    path = write_sessions(tmp_path / "cut.parquet", SESSIONS * 50)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cut\.parquet: .* broken"):
        list(read_sessions([path], (), ALL))


def test_a_changed_byte_among_the_values_is_named(tmp_path: Path) -> None:
    path = write_sessions(tmp_path / "changed.parquet", SESSIONS * 50)
    column = pq.read_metadata(path).row_group(0).column(4)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"changed\.parquet: .* broken"):
        list(read_sessions([path], (), ALL))


def test_folds_without_users_give_nothing(tmp_path: Path) -> None:
    path = write_sessions(tmp_path / "sessions.parquet", SESSIONS)
    assert list(read_sessions([path], ("quotes",), [4])) == []
    assert list(read_sessions([], ("quotes",), [0, 1])) == []
