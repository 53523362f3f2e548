"""A dedicated SQL pool as the platform's warehouse."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import polars as pl
import pyarrow as pa

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.warehouse.load_applying import LoadPlace
from usage_analytics.warehouse.protocol import LoadReceipt
from usage_analytics.warehouse.session import NO_VALUES, Values
from usage_analytics.warehouse.synapse.closing import ROWS_WORTH_CLOSING, close_day, fresh_days
from usage_analytics.warehouse.synapse.loading import load
from usage_analytics.warehouse.synapse.pool import SynapsePool
from usage_analytics.warehouse.synapse.questions import answered
from usage_analytics.warehouse.synapse.schema import bring_up_to_date
from usage_analytics.warehouse.synapse.session import SynapseSession


@dataclass(frozen=True)
class SynapseWarehouse:
    """A `Warehouse` in one schema of a dedicated SQL pool."""

    pool: SynapsePool
    rows_worth_closing: int = ROWS_WORTH_CLOSING

    @property
    def rebuild(self) -> str:
        made_again = "loaded_events of all windows, then the marts, model and plan of all trading days"
        return f"drop all tables and views of the pool's schema {self.pool.schema} and materialize {made_again}"

    @contextmanager
    def session(self) -> Iterator[SynapseSession]:
        with self.pool.connected() as connection:
            session = SynapseSession(connection, self.pool.schema)
            bring_up_to_date(session)
            yield session

    def read(self, query: str, values: Values = NO_VALUES) -> pl.DataFrame:
        with self.session() as session:
            return session.frame(query, values)

    def load_window(
        self, topic: str, window: str, chunks: Iterable[EnrichedChunk], share: Share = EVERYTHING
    ) -> LoadReceipt:
        with self.session() as session:
            receipt = load(session, self.pool, LoadPlace(topic, window, share, self.rebuild), chunks)
            for fresh in fresh_days(session):
                if fresh.rows >= self.rows_worth_closing:
                    close_day(session, fresh.day)
            return receipt

    @contextmanager
    def answered(self, question: str) -> Iterator[pa.RecordBatchReader]:
        with self.session() as session, answered(session, question) as answer:
            yield answer

    def close_day(self, trading_day: date) -> None:
        with self.session() as session:
            if any(fresh.day == trading_day for fresh in fresh_days(session)):
                close_day(session, trading_day)
