"""The commands `usage-analytics dead-letters`."""

from typing import Annotated

import typer

from usage_analytics.cli_options import Windows, chosen_windows
from usage_analytics.settings import load_settings

dead_letters_app = typer.Typer(
    help="Messages that broke the contract: which, why, and judge them again once the mapping is corrected."
)


@dead_letters_app.command("list")
def list_(window: Windows = None) -> None:
    """Count them by reason and field; the words on the first of each may quote from it, so hold personal data."""
    from usage_analytics.reporting.dead_letters import print_reasons

    settings = load_settings()
    print_reasons(settings, chosen_windows(settings, window))


@dead_letters_app.command()
def show(
    window: Windows = None,
    reason: Annotated[str | None, typer.Option(help="Only of this reason, such as missing_field.")] = None,
    at: Annotated[str | None, typer.Option(help="Only the one at this Kafka partition and offset, such as 3:120045.")]
    = None,
    most: Annotated[int, typer.Option("--most", min=1, max=1_000_000, help="At most so many.")] = 10,
) -> None:  # fmt: skip
    """Print single ones: Kafka position, the reason in words, and the message, which may hold personal data."""
    from usage_analytics.reporting.dead_letters import position_of, print_letters

    settings = load_settings()
    print_letters(settings, chosen_windows(settings, window), reason, position_of(at) if at else None, most)


@dead_letters_app.command()
def replay(window: Windows = None) -> None:
    """Judge them again under the mapping of now, and load what keeps it.

    All messages of their windows are judged again from the raw chunks, without Kafka, and replace what was there: the
    result is what a run under this mapping would have given, and nothing is there twice. Windows without dead letters
    are left as they are; a backfill of usage_events and loaded_events in the Dagster UI takes any window.
    """
    from usage_analytics.reporting.dead_letters import print_replay

    settings = load_settings()
    print_replay(settings, chosen_windows(settings, window))
