"""Tables and progress bars for the terminal."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# What moves the cursor, colours or turns around the text after it; and what no encoding of a terminal holds.
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class PlainConsole(Console):
    """Shows texts as they are, whoever wrote them: nothing in them is read as markup, emoji or a terminal's command."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(UNSEEN.sub(_escaped, text), **options)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


# Into a file or a pipe, tables keep their full width.
CONSOLE = PlainConsole(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 140)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows; numbers are aligned right, None shows as a dash."""
    table = Table(title=title, title_justify="left")
    for position, name in enumerate(columns):
        numeric = any(isinstance(row[position], int | float) for row in rows)
        # Folded where a value is wider than its column: shown whole, never cut.
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    CONSOLE.print(table)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar; call what it gives with the number of items done since the last call."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[rate]}"), console=CONSOLE) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(done: int) -> None:
            bar.advance(task, done)
            elapsed = bar.tasks[0].elapsed or 0
            if elapsed > 0.5:
                bar.update(task, rate=f"{bar.tasks[0].completed / elapsed:,.0f}/s")

        yield advance


def instant(microseconds: int | None) -> str:
    """A time since the epoch as people write it; a dash where there is none, or none of the years 1 to 9999."""
    if microseconds is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return "-"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
