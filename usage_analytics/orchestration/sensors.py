"""Starts micro-batches by themselves when enough messages wait, or some wait long enough."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.kafka_source import NoTopic
from usage_analytics.ingestion.planning import Ranges, plan_what_agrees
from usage_analytics.ingestion.shares import Share, all_shares
from usage_analytics.orchestration.jobs import micro_batch
from usage_analytics.orchestration.partitions import SETTINGS, WINDOWS
from usage_analytics.orchestration.resources import Platform
from usage_analytics.orchestration.shares import active_shares, request
from usage_analytics.reconciliation.hop_counts import unfinished_chunks
from usage_analytics.settings import Settings
from usage_analytics.warehouse.protocol import WarehouseInUse

RETRY_MINUTES = 5  # a run that failed is tried again after so long even if no message arrived since
UNFINISHED_AT_ONCE = 4  # windows of a share: while their runs wait in the queue, none lands what arrives
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
    now, shares = datetime.now(UTC), all_shares(settings.shares)
    active = active_shares(context.instance, micro_batch.name)
    free = [share for share in shares if not any(share.overlaps(other) for other in active)]
    landed = _landed(settings) if free else _Landed()
    requests: list[dg.RunRequest] = []
    waits: list[str] = []
    for share in shares:
        mine = {number: offsets for number, offsets in planned.ranges.items() if share.takes(number)}
        if share not in free:
            waits.append(f"{_messages(mine):,} messages wait; a micro-batch is running")
            continue
        asked, more = _unfinished(settings, landed, share, now)
        requests += _requests(settings, landed, share, mine, asked, now)
        waits.append(f"{_messages(mine):,} of {settings.micro_batch_threshold:,} messages wait{more}")
    told = waits[0] if len(waits) == 1 else "; ".join(f"share {n}/{len(waits)}: {why}" for n, why in enumerate(waits))
    refusals = [*planned.refusals, *landed.refusals]
    if not requests and refusals:  # a run would land nothing: the tick says why, red as the run would be
        raise RuntimeError("; ".join(refusals))
    if not requests:
        return dg.SkipReason(told)
    told = "; ".join([f"{told}, at {now.isoformat(timespec='seconds')}", *landed.refusals])
    return dg.SensorResult(run_requests=requests, cursor=told)


@dataclass(frozen=True)
class _Landed:
    """What a tick knows of all that has landed, whatever the share: asked for once."""

    committed_at: dict[int, datetime] = field(default_factory=dict)  # the newest chunk of each Kafka partition
    unfinished: list[tuple[str, int]] = field(default_factory=list)  # windows with chunks to load, by Kafka partition
    refusals: list[str] = field(default_factory=list)

    def since_last(self, share: Share, now: datetime) -> timedelta | None:
        # By the last landing rather than by the messages' own times, which producers may set as they like.
        times = [time for number, time in self.committed_at.items() if share.takes(number)]
        return now - max(times) if times else None


def _landed(settings: Settings) -> _Landed:
    log, warehouse = parts.offset_log(settings), parts.warehouse(settings, WAREHOUSE_WAIT_S)
    committed_at = log.commit_times()
    try:
        chunks = unfinished_chunks(log, settings.topic, warehouse)
    except WarehouseInUse:  # another share loads, or a mart is made: the next tick asks again
        return _Landed(committed_at)
    except UserError as error:  # a damaged record of long ago does not keep what waits from landing
        return _Landed(committed_at, refusals=[str(error)])
    left = sorted({(chunk.window, chunk.kafka_partition) for chunk in chunks})
    foreign = sorted({window for window, _ in left if not WINDOWS.has_partition_key(window)})
    refusals = [
        f"window {window} has chunks that are not loaded, but is no partition now: load it under the trading clock and "
        "the USAGE_ANALYTICS_HISTORY_START that it was landed under"
        for window in foreign
    ]
    return _Landed(committed_at, [each for each in left if each[0] not in foreign], refusals)


def _unfinished(settings: Settings, landed: _Landed, share: Share, now: datetime) -> tuple[list[str], str]:
    """The windows to ask for of those that a share's runs left unloaded; in words, if it is not all of them."""
    # Nothing else may ask for them: a window has ended, or no more arrives. Into the open one a run that began just
    # now, or that this Dagster does not know of, may have landed: it is given time to load.
    window, since = settings.calendar.window_at(now).key, landed.since_last(share, now)
    last = window if since is not None and since >= timedelta(minutes=RETRY_MINUTES) else None
    mine = (left for left, number in landed.unfinished if share.takes(number))
    windows = list(dict.fromkeys(left for left in mine if left < window or left == last))
    if len(windows) <= UNFINISHED_AT_ONCE:
        return windows, ""
    # By turns, so that some that cannot be loaded do not keep the others waiting.
    turn = _attempt(now) * UNFINISHED_AT_ONCE % len(windows)
    asked = sorted([*windows, *windows][turn : turn + UNFINISHED_AT_ONCE])
    return asked, f", {len(windows)} windows are landed but not loaded: {len(asked)} of them are asked for now"


def _requests(
    settings: Settings, landed: _Landed, share: Share, ranges: Ranges, unfinished: list[str], now: datetime
) -> list[dg.RunRequest]:
    """The runs that a share needs now, those of older windows first."""
    window, attempt, since = settings.calendar.window_at(now).key, _attempt(now), landed.since_last(share, now)
    keys = {left: f"{left}@{share}@unfinished@{attempt}" for left in unfinished}
    overdue = since is None or since >= timedelta(seconds=settings.longest_wait_s)
    # The threshold is what is worth one run, so each share's messages are held against all of it.
    if _messages(ranges) >= settings.micro_batch_threshold or (ranges and overdue):
        # Both ends are in the key, so that neither new messages nor progress is taken for a repetition.
        ends = f"{sum(start for start, _ in ranges.values())}-{sum(end for _, end in ranges.values())}"
        keys[window] = f"{window}@{share}@{ends}@{attempt}"
    return [request(key, share, run_key) for key, run_key in keys.items()]


def _attempt(now: datetime) -> int:
    return int(now.timestamp()) // (60 * RETRY_MINUTES)


def _messages(ranges: Ranges) -> int:
    return sum(end - start for start, end in ranges.values())


SENSORS = [waiting_messages]
