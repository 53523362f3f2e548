"""Options that several commands share."""

from collections.abc import Sequence
from typing import Annotated

import typer

from usage_analytics.settings import Settings

Windows = Annotated[
    list[str] | None, typer.Option("--window", help="Only this window; several times for several (default: all).")
]


def chosen_windows(settings: Settings, windows: Sequence[str] | None) -> list[str]:
    """The keys of the windows that were asked for, empty for all; a mistyped one is a `UserError`."""
    return [settings.calendar.window_from_key(key).key for key in windows or ()]
