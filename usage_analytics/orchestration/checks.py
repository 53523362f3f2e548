"""What must hold before the next step runs (blocking), and what someone should look at (warnings)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from usage_analytics import parts
from usage_analytics.enrichment.enrich import EnrichmentReport
from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import in_words
from usage_analytics.ingestion.continuation import plan_what_continues
from usage_analytics.ingestion.kafka_source import NoTopic
from usage_analytics.ingestion.landing import has_ended
from usage_analytics.ingestion.retention import Unread, topic_retention, unread
from usage_analytics.ingestion.verification import lost_beginnings, tiling_faults
from usage_analytics.orchestration.micro_batch_assets import loaded_events, raw_messages, usage_events, usage_messages
from usage_analytics.orchestration.partitions import trading_day_of
from usage_analytics.orchestration.resources import Platform, told_plainly
from usage_analytics.orchestration.trading_day_assets import preload_plan
from usage_analytics.reconciliation.hop_counts import reconcile_window
from usage_analytics.reconciliation.offset_differences import offset_differences
from usage_analytics.warehouse.plans import faulty_contexts

DEAD_LETTER_SHARE = 0.01
SHOWN = 10  # faults named in a check's metadata; all are counted


@dg.asset_check(asset=usage_messages.key)
def unread_is_kept(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """Kafka keeps what has not been landed for six hours more: a warning below that, an error below one hour.

    An error too where it has deleted unread messages already, and a warning where it does not tell what it keeps.
    """
    settings = platform.settings()
    log = parts.offset_log(settings)
    try:
        with parts.kafka_source(settings) as source:
            retention = topic_retention(parts.kafka_client(settings), settings.topic, settings.kafka_timeout_s)
            waiting = unread(source, log, parts.layout(settings), retention, datetime.now(UTC))
    except NoTopic as error:
        if log.committed():
            told = (
                f"{error}; but the lake holds messages of it: it was deleted, or this is another cluster (give that "
                "its own USAGE_ANALYTICS_HOME)"
            )
            return dg.AssetCheckResult(passed=False, description=told)
        return dg.AssetCheckResult(passed=True, description=f"nothing to watch: {error}")
    except parts.NoKafka as error:
        return dg.AssetCheckResult(passed=True, description=f"nothing to watch: {error}")
    except UserError as error:  # Kafka cannot be asked, or the topic is another one
        return dg.AssetCheckResult(passed=False, description=str(error))
    return _kept(waiting, retention.unknown)


def _kept(waiting: Unread, unknown: str | None) -> dg.AssetCheckResult:
    faults, severe = waiting.refusals[:SHOWN], bool(waiting.refusals)
    metadata: dict[str, float | int | str] = {"left_alone": len(waiting.refusals)}
    told = "nothing waits, or the topic keeps everything"
    nearest = waiting.nearest
    if nearest is not None:
        told = nearest.describe()
        faults += [told] if nearest.is_soon else []
        severe |= nearest.is_at_hand
        hours = nearest.left / timedelta(hours=1)
        metadata |= {"hours_left": hours, "messages_waiting": nearest.waiting, "deleted_by": nearest.rule}
    faults += [f"retention unknown: {unknown}"] if unknown else []
    return dg.AssetCheckResult(
        passed=not faults,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description="; ".join(faults) or told,
        metadata=metadata,
    )


@dg.asset_check(asset=raw_messages, blocking=True)
def offsets_tile(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """The window's chunks continue those before them without a gap or an overlap, in the run's Kafka partitions."""
    with told_plainly():
        log = parts.offset_log(platform.settings(), platform.taken_share())
        records = log.chain_into(context.op_execution_context.partition_key)
        faults = tiling_faults(records) + lost_beginnings(log.firsts())
    places = [fault.describe() for fault in faults]
    return dg.AssetCheckResult(
        passed=not faults,
        metadata={
            "chunks": len(records),
            "faults": len(faults),
            "places": "; ".join(places[:SHOWN]) or "none",
            "accepted_losses": "; ".join(in_words(records)[:SHOWN]) or "none",
        },
    )


@dg.multi_asset_check(
    specs=[dg.AssetCheckSpec("nothing_deleted_unread", asset=raw_messages, additional_deps=[loaded_events])]
)
def nothing_deleted_unread(context: dg.AssetCheckExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
    """Kafka deleted nothing of the run's Kafka partitions before it was landed, but for losses that were accepted.

    A Kafka partition that could not be asked, or whose next message Kafka cannot deliver, or whose log lost what was
    landed, fails it too.
    Looked at last, and not blocking: the messages of other Kafka partitions are loaded before the run fails.
    """
    settings = platform.settings()
    refusals: list[str] = []
    with told_plainly():
        window = settings.calendar.window_from_key(context.op_execution_context.partition_key)
        if not has_ended(window, datetime.now(UTC)):  # an older one needs no Kafka
            with parts.kafka_source(settings) as source:
                log = parts.offset_log(settings, platform.taken_share())
                refusals = plan_what_continues(source, log, parts.layout(settings)).refusals
    told = "; ".join(refusals)
    yield dg.AssetCheckResult(passed=not refusals, description=told or None, metadata={"losses": len(refusals)})
    if refusals:
        raise dg.Failure(told, allow_retries=False)


@dg.asset_check(asset=loaded_events, blocking=True)
def counts_reconcile(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """Raw rows = usage events + dead letters, and usage events = rows in the warehouse, chunk by chunk.

    Nor does the warehouse hold other rows of the window or of its offsets. Only the Kafka partitions of the run are
    looked at: others may be half-way, in runs of their own.
    """
    settings = platform.settings()
    window = context.op_execution_context.partition_key
    with told_plainly():
        log, layout = parts.offset_log(settings, platform.taken_share()), parts.layout(settings)
        warehouse = platform.warehouse()
        counts = reconcile_window(log, layout, warehouse, window)
        located = offset_differences((c.record for c in counts.chunks if not c.balances), layout, warehouse)
    wrong = counts.differences()
    places = [
        f"Kafka partition {d.kafka_partition}, offsets {d.first} to {d.last + 1} {d.kind} ({d.hop})" for d in located
    ]
    return dg.AssetCheckResult(
        passed=not wrong,
        metadata={
            "raw": sum(count.record.rows for count in counts.chunks),
            "dead_letters": sum(count.dead_letters or 0 for count in counts.chunks),
            "loaded": counts.loaded,
            "differences": "; ".join(wrong[:SHOWN]) or "none",
            "offsets": "; ".join(places[:SHOWN]) or "none",
        },
    )


@dg.asset_check(asset=usage_events)
def few_dead_letters(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """At most one message in a hundred of the window broke the contract."""
    settings = platform.settings()
    with told_plainly():
        log = parts.offset_log(settings, platform.taken_share())
        records = log.of_window(context.op_execution_context.partition_key)
        report = EnrichmentReport(parts.enriched_reader(settings).chunks(records))
    share = report.dead_letters / max(1, report.rows + report.dead_letters)
    return dg.AssetCheckResult(
        passed=share <= DEAD_LETTER_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"dead_letters": report.dead_letters, "share": share, "reasons": report.reasons},
    )


@dg.asset_check(asset=preload_plan, blocking=True)
def plan_is_a_plan(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """In every context probabilities add up to at most one, and nothing is proposed that is already open."""
    with told_plainly():
        day = trading_day_of(context.op_execution_context.partition_key)
        with platform.warehouse().session() as session:
            broken = faulty_contexts(session, day)
    return dg.AssetCheckResult(passed=not broken, metadata={"broken_contexts": len(broken)})


CHECKS = [unread_is_kept, offsets_tile, nothing_deleted_unread, counts_reconcile, few_dead_letters, plan_is_a_plan]
