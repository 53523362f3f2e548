"""What the platform asks of a column store."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import polars as pl
import pyarrow as pa

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.warehouse.session import NO_VALUES, Session, Values

BROUGHT_UP_TO_DATE = "run usage-analytics status, which brings it up to date, and ask again"


class WarehouseInUse(UserError):
    """Another process has had the warehouse for as long as was waited."""


@dataclass(frozen=True)
class LoadReceipt:
    """What loading did: all rows of the window now, and the chunks that were loaded, replaced or already there."""

    rows: int
    chunks_loaded: int
    chunks_kept: int
    trading_days: tuple[date, ...]


class Warehouse(Protocol):
    """Loads windows, and runs the platform's SQL: marts, plans and questions are functions over its sessions."""

    @property
    def rebuild(self) -> str:
        """How to make it again from the lake, as a person is told."""
        ...

    def session(self) -> AbstractContextManager[Session]:
        """A connection to read by, all tables there. `WarehouseInUse` where another process has it for too long."""
        ...

    def writing(self) -> AbstractContextManager[Session]:
        """The same, to change what is there by: no other process of this machine changes anything meanwhile."""
        ...

    def read(self, query: str, values: Values = NO_VALUES) -> pl.DataFrame:
        """The rows of one query, in a session of its own."""
        ...

    def load_window(
        self, topic: str, window: str, chunks: Iterable[EnrichedChunk], share: Share = EVERYTHING
    ) -> LoadReceipt:
        """Make the window's rows, of a share, equal to its chunks', in one transaction with the ledger.

        ``chunks`` is gone through when no other run can load any more: what others have loaded before is then in a lazy
        one, and is not taken out as if the lake had lost it.
        `UserError`, and nothing has changed: a damaged events file among those to load, or one of other columns than
        the table's; offsets that other windows have loaded, or chunks that would take the window's beginning away.
        """
        ...

    def answered(self, question: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """The rows of a query in the store's own SQL, which can change nothing, not even what is out of date.

        `UserError` where it has no answer.
        """
        ...

    def close_day(self, trading_day: date) -> None:
        """Let a trading day that is over lie as it is best read; again where late events came since."""
        ...
