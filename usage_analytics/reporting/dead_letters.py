"""What people see of dead letters: counts by reason, single messages, and what became of those judged again."""

from collections.abc import Sequence

import polars as pl

from usage_analytics import parts
from usage_analytics.enrichment.dead_letters import REASONS, WindowLetters, all_letters, by_reason, letters_by_window
from usage_analytics.errors import UserError
from usage_analytics.reporting.terminal import CONSOLE, instant, print_table, progress
from usage_analytics.settings import Settings
from usage_analytics.warehouse.refreshing import stale_tables

SHOWN_CHARACTERS = 2_000


def print_reasons(settings: Settings, windows: Sequence[str]) -> None:
    """Print how many dead letters there are of each reason and field, and the first of each."""
    found = _found(settings, windows)
    if not found:
        CONSOLE.print(f"no dead letters {_where(settings, windows)}")
        return
    reasons = by_reason(all_letters(parts.layout(settings), found))
    columns = ("reason", "field", "messages", "windows", "the first is at", "in words")
    rows = [
        (reason, field, messages, of, f"{partition}:{offset}", detail)
        for reason, field, messages, of, partition, offset, detail in reasons.rows()
    ]
    print_table(f"Dead letters {_where(settings, windows)}", columns, rows)


def print_letters(
    settings: Settings, windows: Sequence[str], reason: str | None, position: tuple[int, int] | None, most: int
) -> None:
    """Print single dead letters with all that is known of them; ``position`` is a Kafka partition and an offset."""
    if reason is not None and reason not in REASONS:
        raise UserError(f"--reason is one of {', '.join(REASONS)}, found {reason!r}")
    found = _found(settings, windows)
    letters = all_letters(parts.layout(settings), found) if found else None
    if letters is not None and reason is not None:
        letters = letters.filter(pl.col("reason") == reason)
    if letters is not None and position is not None:
        letters = letters.filter(pl.col("kafka_partition") == position[0], pl.col("kafka_offset") == position[1])
    rows = [] if letters is None else letters.head(most).collect().to_dicts()
    for row in rows:
        CONSOLE.print(f"topic {row['topic']}, Kafka partition {row['kafka_partition']}, offset {row['kafka_offset']}")
        CONSOLE.print(f"  window   {row['window']}, received {instant(row['kafka_timestamp_us'])}")
        CONSOLE.print(f"  reason   {row['reason']}: {row['detail']}")
        CONSOLE.print(f"  key      {printable(row['key'])}")
        CONSOLE.print(f"  message  {printable(row['value'])}\n", soft_wrap=True)
    if not rows:
        CONSOLE.print(f"no such dead letters {_where(settings, windows)}")


def print_replay(settings: Settings, windows: Sequence[str]) -> None:
    """Judge dead letters again under the contract of now, with a progress bar, and print what became of them."""
    from usage_analytics.orchestration.replay import outdated_windows, replay

    outdated = outdated_windows(settings, windows)
    if not outdated:
        why = "were judged under the mapping, key and calendar of now already: nothing would change"
        CONSOLE.print(f"all dead letters {_where(settings, windows)} {why}")
        return
    with progress("windows", len(outdated)) as advance:
        done = replay(settings, outdated, advance)
    rows = [(each.window, each.before, each.after, each.before - each.after) for each in done]
    print_table("Judged again", ("window", "dead letters before", "now", "usage events gained"), rows)
    with parts.warehouse(settings).session() as session:
        stale = list(stale_tables(session, settings.mart_rules))
    if stale:
        days = f"{len(stale)} trading days from {stale[0]} to {stale[-1]}"
        CONSOLE.print(f"Marts of {days} are older than their events; the next close refreshes them")


def printable(content: bytes | None) -> str:
    """Bytes as text that does a terminal no harm, cut where it is long."""
    if content is None:
        return "-"
    text = content[:SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    left = len(content) - SHOWN_CHARACTERS
    return shown + (f" … and {left:,} bytes more" if left > 0 else "")


def _found(settings: Settings, windows: Sequence[str]) -> list[WindowLetters]:
    return letters_by_window(parts.layout(settings), parts.offset_log(settings), windows)


def _where(settings: Settings, windows: Sequence[str]) -> str:
    return f"of topic {settings.topic}" + (f" in window {', '.join(windows)}" if windows else "")


def position_of(text: str) -> tuple[int, int]:
    """Kafka partition and offset from text such as ``3:120045``."""
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal() and len(text) < 30):
        raise UserError(f"--at is a Kafka partition and an offset, such as 3:120045, found {text!r}")
    return int(partition), int(offset)
