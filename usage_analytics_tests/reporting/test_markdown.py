"""Markdown tables keep their shape whatever is in them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.reporting.markdown import table

CELLS = st.text(max_size=8)


def cells_of(line: str) -> list[str]:
    """As a reader of Markdown tells them apart."""
    return re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]


def test_a_table_is_a_line_per_row() -> None:
    assert table(("context", "next"), [("quotes > charts", "news")]) == (
        "| context | next |\n| --- | --- |\n| quotes \\> charts | news |"
    )


def test_names_are_not_read_as_markdown() -> None:
    last = table(("name",), [("a|b\n*c* <script> [x](y) back\\slash _d_ `e`",)]).splitlines()[-1]
    assert last == r"| a\|b \*c\* \<script\> \[x\](y) back\\slash \_d\_ \`e\` |"


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5))
def test_every_row_has_as_many_cells_as_the_head(rows: list[tuple[str, str, str]]) -> None:
    lines = table(("a", "b", "c"), rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert {len(cells_of(line)) for line in lines} == {3}
