"""Starts micro-batches by themselves when enough messages wait."""

from datetime import UTC, datetime

import dagster as dg

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.kafka_source import NoTopic
from usage_analytics.ingestion.planning import plan_what_agrees
from usage_analytics.orchestration.jobs import micro_batch
from usage_analytics.orchestration.partitions import SETTINGS
from usage_analytics.orchestration.resources import Platform
from usage_analytics.reconciliation.hop_counts import unfinished_windows

ACTIVE = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING,
]  # fmt: skip
RETRY_MINUTES = 5  # a run that failed is tried again after so long even if no message arrived since


@dg.sensor(
    job=micro_batch, minimum_interval_seconds=SETTINGS.sensor_interval_s, default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a micro-batch when enough messages wait, measured against what is in the lake.",
)  # fmt: skip
def waiting_messages(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    # Nothing depends on a cursor: a wiped Dagster database, a failed run or a lost tick heal at the next tick.
    settings = platform.settings()
    try:
        with parts.kafka_source(settings) as source:
            planned = plan_what_agrees(source, parts.offset_log(settings), budget=2**62)
        ranges = planned.ranges
        if planned.refusals and not ranges:
            raise UserError(planned.refusals[0])
    except (parts.NoKafka, NoTopic) as error:
        return dg.SkipReason(str(error))
    except UserError as error:
        raise RuntimeError(str(error)) from None
    waiting = sum(end - start for start, end in ranges.values())
    if context.instance.get_runs_count(dg.RunsFilter(job_name=micro_batch.name, statuses=ACTIVE)):
        return dg.SkipReason(f"{waiting:,} messages wait; a micro-batch is running")
    now = datetime.now(UTC)
    window = settings.calendar.window_at(now).key
    attempt = int(now.timestamp()) // (60 * RETRY_MINUTES)
    # Runs that died after landing: a window that ended meanwhile would not be asked for by anything else.
    unfinished = unfinished_windows(parts.offset_log(settings), settings.topic, parts.warehouse(settings))
    keys = {ended: f"{ended}@unfinished@{attempt}" for ended in reversed(unfinished) if ended < window}
    if waiting >= settings.micro_batch_threshold:
        # Both ends are in the key, so that neither new messages nor progress is taken for a repetition.
        ends = f"{sum(start for start, _ in ranges.values())}-{sum(end for _, end in ranges.values())}"
        keys[window] = f"{window}@{ends}@{attempt}"
    if not keys:
        return dg.SkipReason(f"{waiting:,} of {settings.micro_batch_threshold:,} messages wait")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(partition_key=key, run_key=run_key) for key, run_key in keys.items()],
        cursor=f"{waiting} messages waited at {now.isoformat(timespec='seconds')}",
    )


SENSORS = [waiting_messages]
