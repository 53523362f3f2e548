"""The assets of a micro-batch: Kafka to raw chunks to usage events to the warehouse, one window at a time."""

from datetime import UTC, datetime

import dagster as dg

from usage_analytics import parts
from usage_analytics.enrichment.enrich import EnrichmentReport
from usage_analytics.enrichment.enriched_chunk import examine_every_byte, examine_footers, read_enriched
from usage_analytics.ingestion.landing import has_ended
from usage_analytics.micro_batch import land_window
from usage_analytics.orchestration.partitions import SETTINGS, WINDOWS
from usage_analytics.orchestration.resources import Platform, told_plainly
from usage_analytics.reconciliation.hop_counts import refuse_lost_records
from usage_analytics.warehouse.freshness import freshness

OWNERS = ["team:platform"]
STORE = "duckdb" if SETTINGS.synapse is None else "synapse"  # what the UI marks tables of the warehouse by
# Runs of different shares must not wait for each other from beginning to end, as a pool would make them: the queue
# keeps those of one share apart by their tags, and loads wait for their turn at the warehouse.
LANDING_POOL, LOADING_POOL = ("kafka_ingest", "warehouse") if SETTINGS.shares == 1 else (None, None)

usage_messages = dg.AssetSpec(
    "usage_messages",
    group_name="kafka",
    kinds={"kafka", "json"},
    owners=OWNERS,
    description="The Kafka topic of usage messages: one JSON record per click. Not made here; `raw_messages` reads it.",
)


@dg.asset(
    partitions_def=WINDOWS, group_name="ingestion", kinds={"kafka", "parquet"}, owners=OWNERS,
    deps=[usage_messages], pool=LANDING_POOL,
)  # fmt: skip
def raw_messages(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Messages exactly as Kafka gave them, in chunks: one row is one message.

    The open window takes what waits on Kafka, each offset once. An older window is verified against its
    records, and damaged chunks are read again from Kafka. Messages are enriched on the way, which saves `usage_events`
    reading them again; whatever goes wrong with that, they land. A run may take a share of the Kafka partitions.
    """
    settings = platform.settings()
    layout, log = parts.layout(settings), parts.offset_log(settings)
    with told_plainly():
        window = settings.calendar.window_from_key(context.partition_key)
        report = land_window(settings, window, datetime.now(UTC), platform.taken_share())
    if report.verified:
        context.log.info(f"window {window.key} has ended: verified {report.verified} chunks, cut none")
    for refusal in report.refusals:  # `nothing_deleted_unread` fails the run, once the other messages are loaded
        context.log.error(refusal)
    records = log.of_window(window.key)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": sum(record.rows for record in records),
            "messages_landed_now": report.messages,
            "chunks": len(records),
            "chunks_repaired": len(report.repaired),
            "offsets": sum(record.end - record.start for record in records),
            "offsets_accepted_as_lost": sum(r.end - r.start for r in records if r.accepted_loss is not None),
            "folder": dg.MetadataValue.path(str(layout.raw_window(window.key))),
        }
    )


@dg.asset(
    partitions_def=WINDOWS, group_name="enrichment", kinds={"duckdb", "parquet"}, owners=OWNERS, deps=[raw_messages]
)
def usage_events(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Messages parsed, typed, pseudonymised and placed in their trading day: one row is one usage event.

    A pure function of the raw chunks; most were enriched while they landed, any other is read again here. What breaks
    the contract becomes a dead letter, with its Kafka position, its reason and its bytes. Files of the open window are
    looked at quickly, those of an older one are read whole; damaged ones are made again.
    """
    settings = platform.settings()
    with told_plainly():
        window = settings.calendar.window_from_key(context.partition_key)
        examine = examine_every_byte if has_ended(window, datetime.now(UTC)) else examine_footers
        share = platform.taken_share()
        records = parts.offset_log(settings, share).of_window(window.key)
        report = parts.enricher(settings).enrich(records, examine=examine)
        others = [r for r in parts.offset_log(settings).of_window(window.key) if not share.takes(r.kafka_partition)]
    for damage in report.damage:
        context.log.warning(damage)
    # Of what other shares' runs have landed, that which they have enriched by now.
    theirs = [chunk for record in others if (chunk := read_enriched(parts.layout(settings), record)) is not None]
    so_far = EnrichmentReport([*report.chunks, *theirs])
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": so_far.rows,
            "dead_letters": so_far.dead_letters,
            "dead_letters_by_reason": so_far.reasons,
            "chunks_read_again": report.enriched_now,
            "chunks_repaired": len(report.damage),
            "mapping": f"{settings.mapping.name} version {settings.mapping.version}",
        }
    )


@dg.asset(
    partitions_def=WINDOWS, group_name="warehouse", kinds={STORE, "table"}, owners=OWNERS, deps=[usage_events],
    pool=LOADING_POOL,
)  # fmt: skip
def loaded_events(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The window's usage events in the warehouse table `usage_events`, loaded in bulk: one row is one usage event.

    The window's rows and the load ledger change in one transaction; loading again changes nothing. What
    `usage_events` has not made, or what is damaged, is refused. A run that takes a share of the Kafka partitions leaves
    those of others as they are.
    """
    settings = platform.settings()
    window = context.partition_key
    with told_plainly():
        share = platform.taken_share()
        log, warehouse = parts.offset_log(settings, share), platform.warehouse()
        refuse_lost_records(log, log.of_window(window), settings.topic, warehouse, window)
        chunks = parts.enriched_reader(settings).of_window(log, window)
        receipt = warehouse.load_window(settings.topic, window, chunks, share)
        fresh = freshness(warehouse, settings.topic, window)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": receipt.rows,
            "dagster/relation_identifier": "usage_events",
            "chunks_loaded_now": receipt.chunks_loaded,
            "chunks_kept": receipt.chunks_kept,
            "seconds_to_query_p50": None if fresh is None else fresh.median_s,
            "seconds_to_query_p95": None if fresh is None else fresh.p95_s,
            "trading_days_touched": ", ".join(day.isoformat() for day in receipt.trading_days) or "none",
        }
    )


MICRO_BATCH_ASSETS = [raw_messages, usage_events, loaded_events]
