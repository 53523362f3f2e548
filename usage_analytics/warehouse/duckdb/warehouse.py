"""The embedded warehouse: one DuckDB file, opened for as long as one step takes.

DuckDB lets one process write at a time, so connections are short and a busy file is waited for. Beside the file lie its
fresh files (`tiers`): both together are the warehouse.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.warehouse.duckdb.closing import close_day, close_whole
from usage_analytics.warehouse.duckdb.file import fresh_of, opened, rebuild
from usage_analytics.warehouse.duckdb.loading import load
from usage_analytics.warehouse.duckdb.questions import answered
from usage_analytics.warehouse.duckdb.session import DuckDBSession
from usage_analytics.warehouse.duckdb.tiers import fresh_chunks
from usage_analytics.warehouse.load_applying import LoadPlace
from usage_analytics.warehouse.protocol import LoadReceipt
from usage_analytics.warehouse.session import NO_VALUES, Values


@dataclass(frozen=True)
class DuckDBWarehouse:
    """A `Warehouse` in one file."""

    path: Path
    wait_s: float = 60.0  # while another process has the file
    memory_mb: int = 768
    most_fresh_files: int = 4_000  # every query looks for all of them

    @property
    def rebuild(self) -> str:
        return rebuild(self.path)

    @contextmanager
    def session(self) -> Iterator[DuckDBSession]:
        with opened(self.path, self.wait_s, self.memory_mb) as session:
            yield session

    def writing(self) -> AbstractContextManager[DuckDBSession]:
        return self.session()  # the file is one process's at a time as it is

    def read(self, query: str, values: Values = NO_VALUES) -> pl.DataFrame:
        with self.session() as session:
            return session.frame(query, values)

    def load_window(
        self, topic: str, window: str, chunks: Iterable[EnrichedChunk], share: Share = EVERYTHING
    ) -> LoadReceipt:
        with self.session() as session:
            fresh = fresh_of(self.path)
            receipt = load(session, fresh, LoadPlace(topic, window, share, self.rebuild), chunks)
            if len(fresh_chunks(session)) > self.most_fresh_files:
                close_whole(session, fresh)
            return receipt

    def answered(self, question: str) -> AbstractContextManager[pa.RecordBatchReader]:
        return answered(self.path, question, self.wait_s, self.memory_mb)

    def close_day(self, trading_day: date) -> None:
        with self.session() as session:
            close_day(session, fresh_of(self.path), trading_day)
