"""Tables show what they are given, whatever it looks like."""

import pytest

from usage_analytics.reporting.terminal import CONSOLE, print_table


def test_names_from_messages_are_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        "after [/b]", ("mini-app", "seen", "share", "ok"), [("[bold]quotes", 1_234, 0.5, False), (None, 2, 1.0, True)]
    )
    shown = capsys.readouterr().out
    for text in ("after [/b]", "[bold]quotes", "1,234", "0.500", "NO", "yes", "-"):
        assert text in shown


def test_what_a_terminal_would_obey_is_shown_as_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Names come from messages: none may clear the screen, set the window's title, or write over what stands before."""
    hostile = "\x1b[2Jquotes\x07\rchart\x9b31m \u202etxe"
    print_table(hostile, (hostile,), [(hostile,), (":smile:",)])
    CONSOLE.print(f":boom: {hostile}\nnext line ü 図")
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e"} & set(shown)
    assert shown.count(r"\x1b[2Jquotes\x07\rchart\x9b31m \u202etxe") == 4
    assert ":smile:" in shown and ":boom:" in shown and "\nnext line ü 図\n" in shown
