"""How far the platform has come: Kafka against the lake, the last windows, the ledger."""

from dataclasses import dataclass

from usage_analytics import parts
from usage_analytics.reconciliation import Reconciliation, reconcile, reconcile_window
from usage_analytics.settings import Settings


@dataclass(frozen=True)
class KafkaPartitionStatus:
    """One Kafka partition: what Kafka holds, what the lake has, what waits."""

    kafka_partition: int
    low: int
    committed: int | None
    high: int

    @property
    def lag(self) -> int:
        return self.high - (self.low if self.committed is None else self.committed)


@dataclass(frozen=True)
class HopTotals:
    """Messages of one window, or of all, at each hop."""

    name: str
    raw: int
    enriched: int
    dead_letters: int
    loaded: int
    balances: bool
    unexplained: dict[str, int]  # rows in the warehouse that no chunk of the lake explains, by window


def kafka_status(settings: Settings) -> list[KafkaPartitionStatus]:
    """Each Kafka partition of the topic."""
    with parts.kafka_source(settings) as source:
        marks = source.watermarks()
    committed = parts.offset_log(settings).committed()
    return [KafkaPartitionStatus(p, m.low, committed.get(p), m.high) for p, m in marks.items()]


def messages_waiting(settings: Settings) -> int:
    """How many offsets Kafka has that the lake has not."""
    return sum(partition.lag for partition in kafka_status(settings))


def window_totals(settings: Settings, count: int) -> list[HopTotals]:
    """The newest windows that hold messages, newest first."""
    log, layout = parts.offset_log(settings), parts.layout(settings)
    warehouse, windows = parts.warehouse(settings), log.latest_windows(count)
    return [_totals(window, reconcile_window(log, layout, warehouse, window)) for window in windows]


def hop_totals(settings: Settings) -> HopTotals:
    """All messages at each hop."""
    log, layout = parts.offset_log(settings), parts.layout(settings)
    return _totals("all windows", reconcile(log, layout, parts.warehouse(settings)))


def _totals(name: str, counts: Reconciliation) -> HopTotals:
    return HopTotals(
        name=name,
        raw=sum(c.record.rows for c in counts.chunks),
        enriched=sum(c.enriched or 0 for c in counts.chunks),
        dead_letters=sum(c.dead_letters or 0 for c in counts.chunks),
        loaded=counts.loaded,
        balances=not counts.differences(),
        unexplained=counts.unexplained,
    )
