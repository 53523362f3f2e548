"""Turns the msnbc file (UCI: page categories visited by 989,818 users in one day) into usage messages.

The file has an order but no times. Visits are placed in one trading day: each user starts somewhere in it, by a fixed
rule, and moves on every 20 seconds, faster where a long sequence would not fit before the close.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.trading_calendar import TradingCalendar

PACE_S = 20.0
NAME = re.compile(r"[\w-]+")
SPREAD = 2_654_435_761  # Knuth's multiplicative hash: starts spread evenly, without a random number


def msnbc_messages(path: Path, trading_day: date, calendar: TradingCalendar) -> Iterator[tuple[bytes, bytes]]:
    """Key and JSON of each visit in file order, by the platform's own contract.

    ``properties.sequence`` is the user's line in the file, from 0: the reference split tests each with index % 5 == 4.
    Another file is a `UserError`, at once where its head tells.
    """
    categories, sequences = _parse(path)
    return _messages(categories, sequences, trading_day, calendar)


def _messages(
    categories: dict[str, str], sequences: Iterator[list[str]], trading_day: date, calendar: TradingCalendar
) -> Iterator[tuple[bytes, bytes]]:
    hours = calendar.clock.closing_hour - calendar.clock.opening_hour
    opening = datetime.combine(trading_day, time(calendar.clock.opening_hour), tzinfo=calendar.clock.zone)
    opening, length = opening.astimezone(UTC), hours * 3600.0 - 1
    for index, visits in enumerate(sequences):
        pace = min(PACE_S, length / len(visits))
        start = (index * SPREAD % 2**32) / 2**32 * (length - pace * (len(visits) - 1))
        user = f"reader-{index:06d}"
        for number, visit in enumerate(visits):
            at = (opening + timedelta(seconds=start + pace * number)).isoformat()
            yield (
                user.encode(),
                f'{{"event_id":"msnbc-{index}-{number}","event_time":"{at}","user":"{user}","user_session":"visit-{index:06d}",'
                f'"mini_app":"{categories[visit]}","action":"open","properties":{{"sequence":{index}}}}}'.encode(),
            )


def _parse(path: Path) -> tuple[dict[str, str], Iterator[list[str]]]:
    lines = iter(_open(path))
    try:
        names = next(line for line in lines if line.strip() and not line.startswith("%")).split()
    except StopIteration:
        raise UserError(f"{path}: no line of page categories, this is not the msnbc file") from None
    if not all(NAME.fullmatch(name) for name in names):
        raise UserError(f"{path}: its first line lists no page categories, this is not the msnbc file")
    categories = {str(number): name for number, name in enumerate(names, start=1)}
    return categories, _sequences(path, lines, categories)


def _sequences(path: Path, lines: Iterator[str], categories: dict[str, str]) -> Iterator[list[str]]:
    found = False
    for line in lines:
        visits = line.split()
        if not visits or line.startswith("%"):
            continue
        unknown = [visit for visit in visits if visit not in categories]
        if unknown:
            raise UserError(f"{path}: {unknown[0]!r} is none of the {len(categories)} page categories")
        found = True
        yield visits
    if not found:
        raise UserError(f"{path}: no visits follow its page categories, this is not the msnbc file")


def _open(path: Path) -> Iterator[str]:
    try:
        yield from _lines(path)
    except (UnicodeDecodeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path} is damaged, or not the msnbc file: {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _lines(path: Path) -> Iterator[str]:
    if not zipfile.is_zipfile(path):
        with path.open(encoding="ascii") as file:
            yield from file
        return
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".seq") and not name.startswith("__")]
        if not members:
            raise UserError(f"{path}: the archive holds no .seq file")
        with archive.open(members[0]) as member:
            yield from io.TextIOWrapper(member, encoding="ascii")
