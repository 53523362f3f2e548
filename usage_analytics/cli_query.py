"""The command `usage-analytics query`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usage_analytics.settings import load_settings

TO = "Write all rows into this file instead: .csv, or .parquet, in which a second column of the name a is called a_2."


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"


def query_command(
    question: Annotated[str, typer.Argument(metavar="SQL", help="A query in the warehouse's own SQL.")],
    shown_as: Annotated[Format, typer.Option("--format", help="How the answer is printed.")] = Format.TABLE,
    to: Annotated[Path | None, typer.Option(help=TO)] = None,
    most: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows that are printed.")] = 50,
) -> None:
    """Ask the warehouse a question; it can change nothing.

    Tables: usage_events (one row per event), the marts user_sessions, app_transitions, user_profiles, usage_series,
    co_use, paths, friction, latency_histogram, funnels, and the views app_adoption, retention, stickiness,
    latency_percentiles: docs/marts.md says what is in them. And preload_plan: docs/models.md does. Columns that end in
    _us hold microseconds: instants (event_time_us, started_us, ended_us, minute_us) since 1970 in UTC, durations as
    they are.

    Try: usage-analytics query "SELECT mini_app, tried, retained FROM app_adoption ORDER BY tried DESC"
    """
    from usage_analytics import parts
    from usage_analytics.reporting.answers import print_csv, print_rows, write_file

    with parts.warehouse(load_settings()).answered(question) as answer:
        if to is not None:
            write_file(answer, to)
        elif shown_as is Format.CSV:
            print_csv(answer, most)
        else:
            print_rows(answer, most)
