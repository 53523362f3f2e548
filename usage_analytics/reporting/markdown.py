"""Tables as Markdown, for the metadata of assets."""

from __future__ import annotations

import re
from collections.abc import Sequence

MEANT_OTHERWISE = re.compile(r"([\\`*_\[\]<>|~])")  # by Markdown


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of one line per row, whatever its cells hold: names come from messages."""
    lines = [[_plain(cell) for cell in line] for line in (head, *rows)]
    lines.insert(1, ["---" for _ in head])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(cell: str) -> str:
    return MEANT_OTHERWISE.sub(r"\\\1", " ".join(cell.split()))
