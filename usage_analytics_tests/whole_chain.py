"""A whole chain in a folder, without Dagster: messages landed, enriched and loaded; losses can be planted in it."""

from pathlib import Path

from fakes import KEY, OPEN, TOPIC, FakeKafka, land_all, message
from planting import plant

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.ingestion.chunk_landing import Limits
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.lake.layout import Layout
from usage_analytics.reconciliation.hop_counts import HopCounts, Reconciliation, reconcile, reconcile_window
from usage_analytics.trading_calendar import trading_calendar
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse


class Chain:
    """Two Kafka partitions of 20 messages each, one in five broken, in chunks of 10: landed, enriched, loaded."""

    def __init__(self, folder: Path, user: str = "mary") -> None:
        self.kafka, self.layout = FakeKafka.of(2), Layout(folder, TOPIC)
        for kafka_partition in (0, 1):
            for number in range(20):
                good = message(event_id=f"{kafka_partition}-{number}", user=user)
                self.kafka.produce(kafka_partition, good if number % 5 else b"broken")
        self.records = land_all(self.kafka, self.layout, limits=Limits(1_000, 10, 2**30, 5))
        enricher = Enricher(self.layout, load_mapping("usage_event"), trading_calendar(), KEY, 100)
        self.chunks = enricher.enrich(self.records).chunks
        self.warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
        self.warehouse.load_window(TOPIC, OPEN.key, self.chunks)

    def plant(self, statement: str) -> None:
        plant(self.warehouse.path, statement)

    def differing(self, window: str | None = None) -> list[HopCounts]:
        counts = self.reconciled(window)
        assert len(counts.chunks) == 4
        return [count for count in counts.chunks if not count.balances]

    def reconciled(self, window: str | None = None) -> Reconciliation:
        log = OffsetLog(self.layout.offsets)
        if window is None:
            return reconcile(log, self.layout, self.warehouse)
        return reconcile_window(log, self.layout, self.warehouse, window)
