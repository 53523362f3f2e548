"""How far the platform has come: Kafka against the lake, the last windows, the ledger."""

from dataclasses import dataclass
from datetime import UTC, datetime

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import in_words
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.planning import MessageSource
from usage_analytics.ingestion.retention import Deadline, Retention, topic_retention, unread
from usage_analytics.ingestion.verification import TilingFault, lost_beginnings, tiling_faults
from usage_analytics.reconciliation.hop_counts import Reconciliation, reconcile, reconcile_window, refuse_lost_records
from usage_analytics.reporting.terminal import CONSOLE, print_table
from usage_analytics.settings import Settings
from usage_analytics.warehouse.protocol import Freshness

SHOWN = 5  # windows named in a sentence


@dataclass(frozen=True)
class KafkaPartitionStatus:
    """One Kafka partition: what Kafka holds, what the lake has, what waits."""

    kafka_partition: int
    low: int
    committed: int | None
    high: int

    @property
    def lag(self) -> int:
        """How many offsets wait."""
        return max(0, self.high - (self.low if self.committed is None else self.committed))


@dataclass(frozen=True)
class KafkaStatus:
    """The Kafka partitions of the topic, and why landing would refuse all of them, or single ones, if it would.

    ``deadline``: when Kafka next deletes what waits; ``retention_unknown``: why that is not known.
    """

    kafka_partitions: list[KafkaPartitionStatus]
    refusal: str | None
    losses: list[str]
    deadline: Deadline | None
    retention_unknown: str | None


@dataclass(frozen=True)
class HopTotals:
    """Messages of one window, or of all, at each hop."""

    name: str
    raw: int
    enriched: int
    dead_letters: int
    loaded: int
    balances: bool
    freshness: Freshness | None  # of one window
    unexplained: dict[str, int]  # rows in the warehouse that no chunk of the lake explains, by window


def print_status(settings: Settings, windows: int, everything: bool) -> bool:
    """Print Kafka against the lake, and the ledger of the newest windows (and of all); whether nothing is the matter.

    UserError, after the ledger: Kafka cannot be asked.
    """
    refused: list[str] = []
    warnings: list[str] = []
    unreachable: UserError | None = None
    try:
        kafka = kafka_status(settings)
        # Of a topic that the lake does not continue, nothing can be said to wait.
        rows = [
            (s.kafka_partition, s.low, s.committed, s.high, None if kafka.refusal else s.lag)
            for s in kafka.kafka_partitions
        ]
        columns = ("Kafka partition", "low watermark", "committed offset", "high watermark", "lag")
        print_table(f"Topic {settings.topic}", columns, rows)
        refused = [f"Nothing can be landed: {kafka.refusal}"] if kafka.refusal else []
        refused += [f"Of one Kafka partition, nothing can be landed: {loss}" for loss in kafka.losses]
        deadline, unknown = kafka.deadline, kafka.retention_unknown
        if deadline is not None and deadline.is_soon:
            (refused if deadline.is_at_hand else warnings).append(deadline.describe())
        warnings += [f"How long Kafka keeps what waits is unknown: {unknown}"] if unknown else []
    except UserError as error:
        unreachable = error
    totals = window_totals(settings, windows) + ([hop_totals(settings)] if everything else [])
    if totals:
        hops = [(t.name, t.raw, t.enriched, t.dead_letters, t.loaded, t.balances, _fresh(t.freshness)) for t in totals]
        ledger = ("window", "raw", "enriched", "dead letters", "loaded", "balances", "to query, p50 / p95")
        print_table("Ledger", ledger, hops)
    log = parts.offset_log(settings)
    for loss in in_words(log.all() if everything else log.accepted_losses()):
        CONSOLE.print(loss)
    matters = (
        refused
        + _not_enriching(settings)
        + (_broken_chains(settings) if everything else [])
        + [_unexplained(total) for total in totals if total.unexplained]
    )
    for sentence in matters + warnings:
        CONSOLE.print(sentence)
    if unreachable is not None:
        raise unreachable
    return not matters


def kafka_status(settings: Settings) -> KafkaStatus:
    """Each Kafka partition of the topic."""
    log = parts.offset_log(settings)
    with parts.kafka_source(settings) as source:
        found, retention = _kafka_partitions(source, log), _retention(settings)
        try:
            waiting = unread(source, log, retention, datetime.now(UTC))
        except UserError as error:
            return KafkaStatus(found, str(error), [], None, retention.unknown)
    return KafkaStatus(found, None, waiting.refusals, waiting.nearest, retention.unknown)


def _retention(settings: Settings) -> Retention:
    try:
        return topic_retention(parts.kafka_client(settings), settings.topic, settings.kafka_timeout_s)
    except UserError as error:  # what is told of the topic does not depend on it
        return Retention(unknown=str(error))


def messages_waiting(settings: Settings) -> int:
    """How many offsets Kafka has that the lake has not."""
    with parts.kafka_source(settings) as source:
        return sum(partition.lag for partition in _kafka_partitions(source, parts.offset_log(settings)))


def _kafka_partitions(source: MessageSource, log: OffsetLog) -> list[KafkaPartitionStatus]:
    committed = log.committed()  # before the watermarks, which only grow; a plan tells which cannot be asked
    return [KafkaPartitionStatus(p, m.low, committed.get(p), m.high) for p, m in source.held().marks.items()]


def window_totals(settings: Settings, count: int) -> list[HopTotals]:
    """The newest windows that hold messages, newest first."""
    log, layout = parts.offset_log(settings), parts.layout(settings)
    warehouse, windows = parts.warehouse(settings), log.latest_windows(count)
    return [
        _totals(w, reconcile_window(log, layout, warehouse, w), warehouse.freshness(settings.topic, w)) for w in windows
    ]


def hop_totals(settings: Settings) -> HopTotals:
    """All messages at each hop."""
    log, layout = parts.offset_log(settings), parts.layout(settings)
    return _totals("all windows", reconcile(log, layout, parts.warehouse(settings)))


def _totals(name: str, counts: Reconciliation, freshness: Freshness | None = None) -> HopTotals:
    return HopTotals(
        name=name,
        raw=sum(c.record.rows for c in counts.chunks),
        enriched=sum(c.enriched or 0 for c in counts.chunks),
        dead_letters=sum(c.dead_letters or 0 for c in counts.chunks),
        loaded=counts.loaded,
        balances=not counts.differences(),
        freshness=freshness,
        unexplained=counts.unexplained,
    )


def _broken_chains(settings: Settings) -> list[str]:
    log = parts.offset_log(settings)
    records = list(log.all())
    faults = tiling_faults(records) + lost_beginnings(log.firsts())
    found = [f"{fault.describe()}: {_remedy(fault)}" for fault in faults]
    try:
        refuse_lost_records(log, records, settings.topic, parts.warehouse(settings))
    except UserError as error:
        found.append(str(error))
    return found


def _remedy(fault: TilingFault) -> str:
    copy = "restore them from a copy of the lake"
    if fault.kind != "gap":
        return f"the lake's offset records were changed: {copy}"
    place = f"--kafka-partition {fault.kafka_partition} --from {fault.start}"
    again = f"make them again from their chunks: usage-analytics rebuild-offset-records {place}"
    return f"the lake has lost offset records: {copy}, or {again}"


def _not_enriching(settings: Settings) -> list[str]:
    try:
        if settings.home.exists():  # asking for the key makes one where none is needed yet
            parts.enriched_reader(settings)
    except UserError as error:
        return [f"Nothing can be enriched: {error}"]
    return []


def _fresh(freshness: Freshness | None) -> str | None:
    return None if freshness is None else f"{freshness.median_s:,.0f} s / {freshness.p95_s:,.0f} s"


def _unexplained(total: HopTotals) -> str:
    found = list(total.unexplained)
    windows = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    rows = sum(total.unexplained.values())
    return (
        f"Of {total.name}, the warehouse holds {rows:,} rows that no record of the lake explains, loaded from window "
        f"{windows}: restore the lake; if Kafka gave the same offsets again, into another window, materialize "
        f"loaded_events of window {windows}, which takes them out"
    )
