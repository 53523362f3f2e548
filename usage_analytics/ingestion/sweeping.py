"""Removes chunk files that lost: their run died, or raced, and another file of the same start was committed since."""

import re
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path

from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.lake.layout import Layout

CHUNK_FILE = re.compile(r".+\+(\d{3,})\+(\d{20})\+[0-9a-f]{8}\.parquet")
WINDOWS_AROUND = 3  # a run that died left its file a window or two before the one into which the start was landed


def sweep(log: OffsetLog, layout: Layout, window: str) -> list[Path]:
    """Remove the files of the windows around one that can never be committed; gives what it removed.

    A start of which only one file is left is not looked at, nor one that lacks a sound record or that record's file:
    what lies there may be all there is to make either from again.
    """
    windows = layout.raw_windows()
    here = bisect_left(windows, window)
    removed: list[Path] = []
    for start, files in _by_start(layout, windows[max(0, here - WINDOWS_AROUND) : here + WINDOWS_AROUND + 1]).items():
        record = log.at(*start) if len(files) > 1 and log.share.takes(start[0]) else None
        if record is not None and layout.raw_chunk(record.window, record.file).exists():
            removed += [path for path in files if path.name != record.file]
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def _by_start(layout: Layout, windows: list[str]) -> dict[tuple[int, int], list[Path]]:
    """The chunk files by Kafka partition and start offset."""
    files: dict[tuple[int, int], list[Path]] = defaultdict(list)
    for window in windows:
        for path in layout.raw_window(window).glob("*.parquet"):
            chunk = CHUNK_FILE.fullmatch(path.name)
            if chunk is not None:  # what somebody else put there is not touched
                files[int(chunk[1]), int(chunk[2])].append(path)
    return files
