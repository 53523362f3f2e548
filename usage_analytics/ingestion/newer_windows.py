"""Tells where the lake is ahead of the clock: landing cuts only forward, so it waits until the clock has caught up."""

from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import OffsetLog


def refuse_newer(log: OffsetLog, window: str) -> None:
    """`UserError` if Kafka partitions have chunks in a newer window than the open one."""
    # Nothing would land there, in silence.
    if (told := told_of_newer(log, window)) is not None:
        raise UserError(told)


def told_of_newer(log: OffsetLog, window: str) -> str | None:
    """The sentence on the newest such window; None where there is none."""
    newer = [last for last in log.lasts().values() if last.window > window]
    if not newer:
        return None
    newest = max(newer, key=lambda last: last.window)
    place = f"Kafka partition {newest.kafka_partition} has chunks in window {newest.window}"
    return (
        f"{place}, but by the clock the open window is {window}: the clock stepped back, or was ahead when those "
        "landed, or USAGE_ANALYTICS_TIMEZONE, USAGE_ANALYTICS_WINDOW_MINUTES or the hours of the windows were others "
        f"then. Nothing lands until windows begin at or after {newest.window}: set the clock or the setting right, or "
        "wait until then; where that is too long, another USAGE_ANALYTICS_HOME lands all that Kafka still holds"
    )
