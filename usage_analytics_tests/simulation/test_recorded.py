"""Recorded NDJSON as messages keyed by user."""

import sys
from pathlib import Path

import numpy as np
import pytest
from simulation.simulated import scenario

from usage_analytics.cli import main
from usage_analytics.contract import load_mapping
from usage_analytics.errors import UserError
from usage_analytics.simulation.lanes import Lane
from usage_analytics.simulation.recorded import ndjson_messages
from usage_analytics.simulation.rendering import Messages
from usage_analytics.simulation.scenario import Trouble
from usage_analytics.simulation.targets import FolderTarget

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


def test_line_ends_are_no_part_of_a_message(tmp_path: Path) -> None:
    assert keyed(tmp_path, b"{}\r", b" {} ", b"") == [(None, b"{}"), (None, b" {} ")]


@pytest.mark.parametrize("end", [(), (b"",), (b"", b""), (b"\r", b"")])
def test_the_end_of_a_file_is_no_message(end: tuple[bytes, ...], tmp_path: Path) -> None:
    assert keyed(tmp_path, b"{}", *end) == [(None, b"{}")]


def test_an_empty_line_among_others_is_a_tombstone(tmp_path: Path) -> None:
    assert keyed(tmp_path, b"{}", b"", b"\r", b"[]") == [(None, b"{}"), (None, None), (None, None), (None, b"[]")]


@pytest.mark.parametrize("last", [(), (None,), (None, None), (b"{",)])
def test_what_is_simulated_into_a_file_is_read_from_it_byte_for_byte(
    last: tuple[bytes | None, ...], tmp_path: Path
) -> None:
    """Tombstones, even as the last message, and messages that are not UTF-8 among them."""
    rough = scenario(users=100, messages_per_day=2_000, lanes=1, trouble=Trouble(malformed=0.2))
    pieces = [piece for batch in Lane(rough, 0).batches() for piece in batch.messages()]
    pieces.append(Messages([b"u"] * len(last), list(last), np.zeros(len(last), np.int64)))
    target = FolderTarget(tmp_path)
    sink = target.open([0])
    for piece in pieces:
        sink.write(0, piece)
    sink.close()
    sent = [value for piece in pieces for value in piece.values]
    assert None in sent and any(b"\xff" in value for value in sent if value)
    assert [value for _, value in ndjson_messages(target.path(0), load_mapping("usage_event"))] == sent


def test_users_within_lists_and_under_escaped_names(tmp_path: Path) -> None:
    from dataclasses import replace

    fields = tuple(replace(f, pointers=("/a~1b/1/c~0d",)) if f.name == "user" else f for f in WIKIPEDIA.fields)
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"a/b": [0, {"c~d": "mary"}]}\n{"a/b": [0]}\n')
    assert [key for key, _ in ndjson_messages(path, replace(WIKIPEDIA, fields=fields))] == [b"mary", None]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.ndjson cannot be read: No such file"):
        list(ndjson_messages(tmp_path / "nowhere.ndjson", WIKIPEDIA))


def test_partitions_that_no_kafka_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ndjson").write_text("{}\n")
    arguments = [str(tmp_path / "a.ndjson"), "--mapping", "usage_event", "--partitions", "10000000000"]
    monkeypatch.setattr(sys, "argv", ["usage-analytics", "produce", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    shown = capfd.readouterr().err
    assert "Invalid value for '--partitions'" in shown
    assert "Traceback" not in shown
