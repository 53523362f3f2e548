"""A dedicated SQL pool as the platform's warehouse.

The pool has neither locks nor keys that keep two writers apart. A file beside the lake does, which a process has to
itself while it changes anything; those who only read need not wait.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.locks import StillTaken, one_within
from usage_analytics.warehouse.load_applying import LoadPlace
from usage_analytics.warehouse.protocol import LoadReceipt, WarehouseInUse
from usage_analytics.warehouse.session import NO_VALUES, Values
from usage_analytics.warehouse.synapse.closing import ROWS_WORTH_APPENDING, append_full_batches, close_day
from usage_analytics.warehouse.synapse.loading import load
from usage_analytics.warehouse.synapse.pool import SynapsePool
from usage_analytics.warehouse.synapse.questions import answered
from usage_analytics.warehouse.synapse.schema import bring_up_to_date, is_up_to_date, refuse_unless_up_to_date
from usage_analytics.warehouse.synapse.session import SynapseSession


@dataclass(frozen=True)
class SynapseWarehouse:
    """A `Warehouse` in one schema of a dedicated SQL pool; ``lock``: the file of whoever changes it."""

    pool: SynapsePool
    lock: Path
    wait_s: float = 60.0  # while another process changes it
    rows_worth_appending: int = ROWS_WORTH_APPENDING

    @property
    def rebuild(self) -> str:
        made_again = "loaded_events of all windows, then the marts, model and plan of all trading days"
        return f"drop all tables and views of the pool's schema {self.pool.schema} and materialize {made_again}"

    @contextmanager
    def session(self) -> Iterator[SynapseSession]:
        with self._connected() as session:
            if not is_up_to_date(session):
                with self._alone():
                    bring_up_to_date(session)
            yield session

    @contextmanager
    def writing(self) -> Iterator[SynapseSession]:
        with self._alone(), self._connected() as session:
            bring_up_to_date(session)
            yield session

    def read(self, query: str, values: Values = NO_VALUES) -> pl.DataFrame:
        with self.session() as session:
            return session.frame(query, values)

    def load_window(
        self, topic: str, window: str, chunks: Iterable[EnrichedChunk], share: Share = EVERYTHING
    ) -> LoadReceipt:
        with self.writing() as session:
            receipt = load(session, self.pool, LoadPlace(topic, window, share, self.rebuild), chunks)
            append_full_batches(session, self.rows_worth_appending)
            return receipt

    @contextmanager
    def answered(self, question: str) -> Iterator[pa.RecordBatchReader]:
        with self._connected() as session:
            refuse_unless_up_to_date(session)
            with answered(session, question) as answer:
                yield answer

    def close_day(self, trading_day: date) -> None:
        with self.writing() as session:
            close_day(session, trading_day, self.rows_worth_appending)

    @contextmanager
    def _connected(self) -> Iterator[SynapseSession]:
        with self.pool.connected() as connection:
            yield SynapseSession(connection, self.pool.schema)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with ExitStack() as held:
            try:
                held.enter_context(one_within(self.lock, self.wait_s))
            except StillTaken as taken:
                why = f"{taken} changes it, as {self.lock} says"
                raise WarehouseInUse(f"{self.pool.place} has been in use for {self.wait_s:g} s: {why}") from None
            yield
