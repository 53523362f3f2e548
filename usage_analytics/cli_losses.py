"""The commands for what was lost: `usage-analytics accept-loss` and `rebuild-offset-records`."""

import getpass
import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from usage_analytics.settings import load_settings


def accept_loss_command(
    kafka_partition: Annotated[int, typer.Option(help="Kafka partition that lost messages.")],
    start: Annotated[int, typer.Option("--from", help="First lost offset.")],
    end: Annotated[int, typer.Option("--to", help="First offset that is kept: the one after the last lost one.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the lake.")] = "Kafka deleted them before they were landed",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what would be done.")] = False,
) -> None:
    """Accept that Kafka deleted messages before they were landed: landing goes on after them.

    The offsets must be exactly those that Kafka deleted. The loss is kept in the lake, with reason, time and user.
    """
    from usage_analytics import parts
    from usage_analytics.ingestion.accepted_loss import accept_loss, refuse_unless_lost

    settings, now = load_settings(), datetime.now(UTC)
    log, window = parts.offset_log(settings), settings.calendar.window_at(now).key
    place = f"offsets {start} to {end} of topic {settings.topic!r}, Kafka partition {kafka_partition}"
    with parts.kafka_source(settings) as source:
        if not yes:
            refuse_unless_lost(source, log, parts.layout(settings), kafka_partition, start, end)
            print(f"{place} are lost; with --yes, window {window} would hold them as an accepted loss")
            return
        accepted = f"{reason} (accepted by {_who()} at {now.isoformat(timespec='seconds')})"
        accept_loss(source, log, parts.layout(settings), window, kafka_partition, start, end, accepted)
    print(f"{place}: accepted as lost, in window {window}; the next micro-batch goes on at {end}")


def rebuild_offset_records_command(
    kafka_partition: Annotated[int, typer.Option(help="Kafka partition of the records.")],
    start: Annotated[int, typer.Option("--from", help="First offset of the first one, as 'status --all' tells it.")],
) -> None:
    """Make lost or damaged offset records again from their chunks, if chunks and neighbouring records prove them."""
    from usage_analytics import parts
    from usage_analytics.ingestion.record_rebuilding import rebuild_records

    settings = load_settings()
    for made in rebuild_records(parts.offset_log(settings), parts.layout(settings), kafka_partition, start):
        offsets = f"offsets {made.start} to {made.end}, window {made.window}"
        print(f"Kafka partition {kafka_partition}: record of {offsets}, rebuilt")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a number may be all there is
        return f"user {os.getuid()}"
