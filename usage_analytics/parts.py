"""Builds the parts that the settings choose: the one place that knows which implementation stands behind a protocol."""

from typing import Any

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.enrichment.enriched_chunk import EnrichedReader
from usage_analytics.enrichment.fingerprint import enrichment_fingerprint
from usage_analytics.enrichment.kept_key import keep_key, refuse_another_key
from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_landing import Limits
from usage_analytics.ingestion.kafka_source import KafkaSource
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.lake.layout import Layout
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.settings import Settings, has_pseudonym_key, pseudonym_key, whence_pseudonym_key
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse


class NoKafka(UserError):
    """Neither a cluster is set nor does the embedded broker run."""


def kafka_client(settings: Settings) -> dict[str, Any]:
    """The librdkafka settings of the cluster: the environment's, or the embedded broker's if one runs here."""
    from usage_analytics.ingestion.embedded_broker import EmbeddedBroker

    servers = settings.bootstrap_servers
    if servers is None:
        broker = EmbeddedBroker.running(settings.broker_directory)
        if broker is None:
            raise NoKafka(
                "no Kafka: set KAFKA_BOOTSTRAP_SERVERS, or start the embedded broker with "
                f"'usage-analytics broker start' (none runs for {settings.home})"
            )
        servers = broker.bootstrap_servers
    return {"bootstrap.servers": servers, **dict(settings.kafka_client)}


def kafka_source(settings: Settings) -> KafkaSource:
    return KafkaSource(kafka_client(settings), settings.topic, settings.kafka_timeout_s)


def layout(settings: Settings) -> Layout:
    return Layout(settings.lake, settings.topic)


def offset_log(settings: Settings, share: Share = EVERYTHING) -> OffsetLog:
    return OffsetLog(layout(settings).offsets, share)


def limits(settings: Settings) -> Limits:
    return Limits(
        messages_per_run=settings.max_messages_per_run,
        chunk_messages=settings.chunk_messages,
        chunk_bytes=settings.chunk_megabytes * 2**20,
        batch_messages=settings.batch_messages,
        threads=settings.parallel,
    )


def lake_key(settings: Settings) -> bytes:
    """The key of all pseudonyms; `UserError` if it is another one than the lake was enriched with."""
    key = pseudonym_key(settings)
    refuse_another_key(settings.lake, key, whence_pseudonym_key(settings))
    return key


def lake_key_at_hand(settings: Settings) -> bytes | None:
    """As `lake_key`; None where this process has no key, which is not made for it."""
    return lake_key(settings) if has_pseudonym_key(settings) else None


def plan_folder(settings: Settings) -> PlanFolder:
    return PlanFolder(settings.preload_plans)


def enricher(settings: Settings) -> Enricher:
    """What enriches chunks; the lake keeps which key it does that with, `UserError` if it has another one."""
    key = pseudonym_key(settings)
    keep_key(settings.lake, key, whence_pseudonym_key(settings))
    return Enricher(
        layout(settings), settings.mapping, settings.calendar, key, settings.batch_messages,
        settings.enriched_compression,
    )  # fmt: skip


def refuse_unless_enrichable(settings: Settings) -> None:
    """`UserError` where messages, once landed, could not be enriched under these settings; makes no home folder."""
    if settings.pseudonym_key is not None or settings.bootstrap_servers is not None or settings.home.exists():
        enriched_reader(settings)
    else:  # the key would be made, and there will be one
        load_mapping(settings.mapping_name)


def enriched_reader(settings: Settings) -> EnrichedReader:
    mapping, calendar = settings.mapping, settings.calendar  # a wrong mapping is told before a missing key
    fingerprint = enrichment_fingerprint(mapping, calendar, lake_key(settings), settings.enriched_compression)
    return EnrichedReader(layout(settings), fingerprint)


def warehouse(settings: Settings, wait_s: float = 60.0) -> Warehouse:
    """The column store; a person who asks it something waits so long for another process that has it."""
    if settings.synapse is not None:
        return SynapseWarehouse(settings.synapse, settings.home / "warehouse.lock", wait_s)
    return DuckDBWarehouse(settings.warehouse, wait_s, settings.warehouse_memory)
