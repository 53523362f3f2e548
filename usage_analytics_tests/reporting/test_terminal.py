"""Tables show what they are given, whatever it looks like."""

import pytest

from usage_analytics.reporting.terminal import print_table


def test_names_from_messages_are_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        "after [/b]", ("mini-app", "seen", "share", "ok"), [("[bold]quotes", 1_234, 0.5, False), (None, 2, 1.0, True)]
    )
    shown = capsys.readouterr().out
    for text in ("after [/b]", "[bold]quotes", "1,234", "0.500", "NO", "yes", "-"):
        assert text in shown
