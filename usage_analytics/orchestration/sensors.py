"""Starts micro-batches by themselves when enough messages wait, or some wait long enough."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.kafka_source import NoTopic
from usage_analytics.ingestion.planning import Ranges, plan_what_agrees
from usage_analytics.ingestion.shares import Share, all_shares
from usage_analytics.orchestration.jobs import micro_batch
from usage_analytics.orchestration.partitions import SETTINGS
from usage_analytics.orchestration.resources import Platform
from usage_analytics.orchestration.shares import active_shares, request
from usage_analytics.reconciliation.hop_counts import unfinished_windows
from usage_analytics.settings import Settings
from usage_analytics.warehouse.protocol import WarehouseInUse

RETRY_MINUTES = 5  # a run that failed is tried again after so long even if no message arrived since
WAREHOUSE_WAIT_S = 10.0  # a tick must end within 60 s


@dg.sensor(
    job=micro_batch, minimum_interval_seconds=SETTINGS.sensor_interval_s, default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a micro-batch when enough messages wait, or some long enough, measured against the lake.",
)  # fmt: skip
def waiting_messages(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    # Nothing depends on a cursor: a wiped Dagster database, a failed run or a lost tick heal at the next tick.
    settings = platform.settings()
    try:
        with parts.kafka_source(settings) as source:
            planned = plan_what_agrees(source, parts.offset_log(settings), budget=2**62)
    except (parts.NoKafka, NoTopic) as error:
        return dg.SkipReason(str(error))
    except UserError as error:
        raise RuntimeError(str(error)) from None
    now = datetime.now(UTC)
    active = active_shares(context.instance, micro_batch.name)
    requests: list[dg.RunRequest] = []
    waits: list[str] = []
    for share in all_shares(settings.shares):
        mine = {number: offsets for number, offsets in planned.ranges.items() if share.takes(number)}
        if any(share.overlaps(other) for other in active):
            waits.append(f"{_messages(mine):,} messages wait; a micro-batch is running")
            continue
        requests += _requests(settings, share, mine, now)
        waits.append(f"{_messages(mine):,} of {settings.micro_batch_threshold:,} messages wait")
    told = waits[0] if len(waits) == 1 else "; ".join(f"share {n}/{len(waits)}: {why}" for n, why in enumerate(waits))
    if not requests and planned.refusals:  # a run would land nothing: the tick says why, red as the run would be
        raise RuntimeError("; ".join(planned.refusals))
    if not requests:
        return dg.SkipReason(told)
    return dg.SensorResult(run_requests=requests, cursor=f"{told}, at {now.isoformat(timespec='seconds')}")


def _requests(settings: Settings, share: Share, ranges: Ranges, now: datetime) -> list[dg.RunRequest]:
    """The runs that a share needs now, those of older windows first."""
    window = settings.calendar.window_at(now).key
    attempt = int(now.timestamp()) // (60 * RETRY_MINUTES)
    # Runs that died after landing: a window that ended meanwhile would not be asked for by anything else.
    unfinished = reversed(_unfinished(settings, share))
    keys = {ended: f"{ended}@{share}@unfinished@{attempt}" for ended in unfinished if ended < window}
    # The threshold is what is worth one run, so each share's messages are held against all of it.
    if _messages(ranges) >= settings.micro_batch_threshold or (ranges and _overdue(settings, share, now)):
        # Both ends are in the key, so that neither new messages nor progress is taken for a repetition.
        ends = f"{sum(start for start, _ in ranges.values())}-{sum(end for _, end in ranges.values())}"
        keys[window] = f"{window}@{share}@{ends}@{attempt}"
    return [request(key, share, run_key) for key, run_key in keys.items()]


def _overdue(settings: Settings, share: Share, now: datetime) -> bool:
    # By the last landing rather than by the messages' own times, which producers may set as they like.
    last = parts.offset_log(settings, share).last_commit()
    return last is None or now - last >= timedelta(seconds=settings.longest_wait_s)


def _unfinished(settings: Settings, share: Share) -> list[str]:
    warehouse = parts.warehouse(settings, WAREHOUSE_WAIT_S)
    try:
        return unfinished_windows(parts.offset_log(settings, share), settings.topic, warehouse)
    except WarehouseInUse:  # another share loads, or a mart is made: the next tick asks again
        return []


def _messages(ranges: Ranges) -> int:
    return sum(end - start for start, end in ranges.values())


SENSORS = [waiting_messages]
