"""How far the platform has come: Kafka against the lake, the last windows, the ledger."""

from dataclasses import dataclass

from usage_analytics import parts
from usage_analytics.reconciliation import hop_counts
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
    log = parts.offset_log(settings)
    return [_totals(settings, window, window) for window in log.latest_windows(count)]


def hop_totals(settings: Settings) -> HopTotals:
    """All messages at each hop."""
    return _totals(settings, "all windows", None)


def _totals(settings: Settings, name: str, window: str | None) -> HopTotals:
    log = parts.offset_log(settings)
    records = log.all() if window is None else log.of_window(window)
    counts = hop_counts(records, parts.layout(settings), parts.warehouse(settings), window)
    return HopTotals(
        name=name,
        raw=sum(c.record.rows for c in counts),
        enriched=sum(c.enriched or 0 for c in counts),
        dead_letters=sum(c.dead_letters or 0 for c in counts),
        loaded=sum(c.loaded or 0 for c in counts),
        balances=all(c.balances for c in counts),
    )
