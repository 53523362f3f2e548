"""Recorded NDJSON as messages keyed by user."""

from pathlib import Path

import pytest

from usage_analytics.contract import load_mapping
from usage_analytics.errors import UserError
from usage_analytics.simulation.recorded import ndjson_messages

WIKIPEDIA = load_mapping("wikipedia_app_events")


def keyed(tmp_path: Path, *lines: bytes) -> list[tuple[bytes | None, bytes]]:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(lines))
    return list(ndjson_messages(path, WIKIPEDIA))


def test_lines_are_sent_as_they_are_keyed_by_the_first_user_found(tmp_path: Path) -> None:
    lines = [
        b'{"attribute": {"installation_id": "phone", "user_id": "mary"}}',
        b'{"attribute":{"installation_id":null,"user_id":"m\\u00e4ry"} }',
        b'{"attribute":{"user_id":7}}',
    ]
    assert keyed(tmp_path, *lines) == [(b"phone", lines[0]), ("märy".encode(), lines[1]), (b"7", lines[2])]


@pytest.mark.parametrize(
    "line",
    [b"{broken", b"\xff\xfe", b"[]", b"5", b"{}", b'{"attribute":[]}', b'{"attribute":{"user_id":{}}}', b"[" * 9_999],
)
def test_broken_lines_are_sent_too_without_a_key(line: bytes, tmp_path: Path) -> None:
    assert keyed(tmp_path, line) == [(None, line)]


def test_line_ends_and_empty_lines_are_no_part_of_a_message(tmp_path: Path) -> None:
    assert keyed(tmp_path, b"{}\r", b"", b" {} ", b"\r", b"") == [(None, b"{}"), (None, b" {} ")]


def test_users_within_lists_and_under_escaped_names(tmp_path: Path) -> None:
    from dataclasses import replace

    fields = tuple(replace(f, pointers=("/a~1b/1/c~0d",)) if f.name == "user" else f for f in WIKIPEDIA.fields)
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"a/b": [0, {"c~d": "mary"}]}\n{"a/b": [0]}\n')
    assert [key for key, _ in ndjson_messages(path, replace(WIKIPEDIA, fields=fields))] == [b"mary", None]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.ndjson cannot be read: No such file"):
        list(ndjson_messages(tmp_path / "nowhere.ndjson", WIKIPEDIA))
