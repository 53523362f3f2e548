"""The msnbc file as usage messages."""

import json
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import groupby, islice, pairwise
from pathlib import Path

import pytest

from usage_analytics.errors import UserError
from usage_analytics.simulation.msnbc import PACE_S, msnbc_messages
from usage_analytics.trading_calendar import trading_calendar

CALENDAR = trading_calendar()
DAY = date(2026, 11, 23)
TEXT = "% Different categories\n\nfrontpage news tech\n\n% Sequences:\n\n1 1 \n2 \n3 2 2 1 \n"
OPENING = datetime.fromisoformat("2026-11-23T08:00:00-05:00")


def messages(path: Path) -> list[tuple[bytes, dict[str, object]]]:
    return [(key, json.loads(value)) for key, value in msnbc_messages(path, DAY, CALENDAR)]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.seq"
    path.write_text(TEXT)
    return path


def test_every_visit_is_one_message_in_order(small: Path) -> None:
    found = [(m["properties"]["sequence"], m["mini_app"]) for _, m in messages(small)]  # type: ignore[index]
    assert found == [
        (0, "frontpage"), (0, "frontpage"), (1, "news"), (2, "tech"), (2, "news"), (2, "news"), (2, "frontpage"),
    ]  # fmt: skip
    assert len({m["event_id"] for _, m in messages(small)}) == 7
    assert all(key.decode() == m["user"] for key, m in messages(small))
    assert all(m["user"] not in (m["user_session"], m["event_id"]) for _, m in messages(small))
    assert messages(small) == messages(small)


def test_visits_are_paced_within_the_trading_day(tmp_path: Path) -> None:
    path = tmp_path / "long.seq"
    path.write_text(TEXT + "1 " * 5_000 + "\n")
    for _, visits in groupby(messages(path), key=lambda pair: pair[0]):
        times = [datetime.fromisoformat(str(m["event_time"])) for _, m in visits]
        assert OPENING <= times[0] <= times[-1] < OPENING + timedelta(hours=9)
        steps = {(after - before).total_seconds() for before, after in pairwise(times)}
        assert all(0 < step <= PACE_S for step in steps)


def test_a_zip_archive_is_read_as_its_file(small: Path, tmp_path: Path) -> None:
    archive = tmp_path / "small.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__MACOSX/._small.seq", b"\x00")
        file.write(small, "small.seq")
    assert messages(archive) == messages(small)


def damaged_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.seq", TEXT * 1_000)
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)


def empty_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "nothing")


@pytest.mark.parametrize(
    ("make", "thing"),
    [
        (lambda path: path.write_text(""), "no line of page categories"),
        (lambda path: path.write_text("% only a remark\n"), "no line of page categories"),
        (lambda path: path.write_text('{"user": "mary"}\n'), "its first line lists no page categories"),
        (lambda path: path.write_text("news tech\n"), "no visits follow its page categories"),
        (lambda path: path.write_text(TEXT + "4 \n"), "'4' is none of the 3 page categories"),
        (lambda path: path.write_text(TEXT + "one\n"), "'one' is none of the 3 page categories"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "damaged, or not the msnbc file"),
        (
            lambda path: path.write_bytes(TEXT.encode() + b"1 2\n" * 50_000 + b"\xff\n"),
            "damaged, or not the msnbc file",
        ),
        (damaged_zip, "damaged, or not the msnbc file"),
        (empty_zip, "the archive holds no .seq file"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
)
def test_another_or_a_damaged_file_is_named(make: Callable[[Path], object], thing: str, tmp_path: Path) -> None:
    path = tmp_path / "other.seq"
    make(path)
    with pytest.raises(UserError) as caught:
        list(msnbc_messages(path, DAY, CALENDAR))
    assert str(path) in str(caught.value)
    assert thing in str(caught.value)


def test_the_recorded_file(shared_data: Path) -> None:
    path = shared_data / "msnbc" / "msnbc990928.zip"
    if not path.is_file():
        pytest.skip(f"no recorded data: {path} is absent")
    first = [json.loads(value) for _, value in islice(msnbc_messages(path, DAY, CALENDAR), 4)]
    assert [m["mini_app"] for m in first] == ["frontpage", "frontpage", "news", "tech"]
