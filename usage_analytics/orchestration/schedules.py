"""What the clock starts: a flush at every window of the trading day, and the close after it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from usage_analytics import parts
from usage_analytics.ingestion.shares import all_shares
from usage_analytics.orchestration.jobs import micro_batch, trading_day_close, watch_retention
from usage_analytics.orchestration.partitions import SETTINGS, TRADING_DAYS, WINDOWS, closing_cron
from usage_analytics.orchestration.resources import Platform
from usage_analytics.orchestration.shares import request
from usage_analytics.tables import PRELOAD_PLAN
from usage_analytics.warehouse.refreshing import stale_tables

TIMEZONE = SETTINGS.clock.timezone


@dg.schedule(
    job=micro_batch,
    # The windows' own starts, and once more when the last hour is over.
    cron_schedule=[WINDOWS.cron_schedule, closing_cron(SETTINGS, minute=0)],
    execution_timezone=TIMEZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Lands what waits at each window's start, however little: nothing waits longer than a window.",
)
def flush_window(context: dg.ScheduleEvaluationContext, platform: Platform) -> Iterator[dg.RunRequest | dg.SkipReason]:
    settings, due = platform.settings(), context.scheduled_execution_time
    window = settings.calendar.window_at(due.astimezone(UTC))
    if datetime.now(UTC) >= window.end:  # Dagster refuses partitions later than the tick
        yield dg.SkipReason(f"window {window.key} has ended; the tick of the open one flushes")
        return
    for share in all_shares(settings.shares):
        yield request(window.key, share, f"{window.key}@{share}@flush@{due.isoformat()}")


@dg.schedule(
    job=trading_day_close,
    cron_schedule=closing_cron(SETTINGS, minute=5),
    execution_timezone=TIMEZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Closes the trading day, and makes the marts of earlier ones anew that late events or a rule changed.",
)
def close_trading_day(
    context: dg.ScheduleEvaluationContext, platform: Platform
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    settings = platform.settings()
    closed = settings.calendar.latest_closed_day(context.scheduled_execution_time)  # by the tick, however late it comes
    with parts.warehouse(settings).session() as session:
        stale = {day.isoformat(): of_day for day, of_day in stale_tables(session, settings.mart_rules, closed).items()}
    known = [day for day in stale if TRADING_DAYS.has_partition_key(day)]
    for day in stale:
        if day not in known:
            context.log.warning(f"events of {day} lie outside the partitions, which start {settings.history_start}")
    if not known:
        yield dg.SkipReason("no trading day has events that its marts have not seen")
    for day in known:  # oldest first, and runs with marts take turns: the model learns from counts that are up to date
        whole = PRELOAD_PLAN.name in stale[day]
        yield dg.RunRequest(
            partition_key=day,
            # Dagster wants keys of several requests, and drops a key it has seen: the next evening must ask anew.
            run_key=f"{day}@{context.scheduled_execution_time.isoformat()}",
            asset_selection=None if whole else [dg.AssetKey(mart) for mart in stale[day]],
        )


watch = dg.ScheduleDefinition(
    name="watch_retention_schedule",
    job=watch_retention,
    cron_schedule="7,22,37,52 * * * *",  # between the flushes
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks, day and night, how long Kafka still keeps what has not been landed.",
)
SCHEDULES = [flush_window, close_trading_day, watch]
