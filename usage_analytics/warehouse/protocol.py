"""What the platform asks of a column store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import polars as pl

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import EVERYTHING, Share

MARTS = ("user_sessions", "app_transitions")
PLAN = "preload_plan"


class WarehouseInUse(UserError):
    """Another process has had the warehouse for as long as was waited."""


@dataclass(frozen=True)
class LoadReceipt:
    """What loading did: all rows of the window now, and the chunks that were loaded, replaced or already there."""

    rows: int
    chunks_loaded: int
    chunks_kept: int
    trading_days: tuple[date, ...]


@dataclass(frozen=True)
class MartReceipt:
    """What refreshing one mart for one trading day gave; ``duplicates_dropped``: usage events that repeat another."""

    rows: int
    version: int
    duplicates_dropped: int


@dataclass(frozen=True)
class Freshness:
    """Whole seconds from arrival on Kafka within which half, and 95 %, of a window's events could be queried.

    Arrival is Kafka's timestamp: by default (``CreateTime``) the producer's clock.
    """

    median_s: float
    p95_s: float


class Warehouse(Protocol):
    """Loads windows, refreshes marts by trading day, answers queries."""

    @property
    def rebuild(self) -> str:
        """How to make it again from the lake, as a person is told."""
        ...

    def load_window(
        self, topic: str, window: str, chunks: Iterable[EnrichedChunk], share: Share = EVERYTHING
    ) -> LoadReceipt:
        """Make the window's rows, of a share, equal to its chunks', in one transaction with the ledger.

        ``chunks`` is gone through when no other run can load any more: what others have loaded before is then in a lazy
        one, and is not taken out as if the lake had lost it.
        `UserError`, and nothing has changed: a damaged events file among those to load; offsets that other windows
        have loaded, or chunks that would take the window's beginning away.
        """
        ...

    def freshness(self, topic: str, window: str) -> Freshness | None:
        """How soon a window's usage events could be queried; None without events that carry their time of arrival."""
        ...

    def refresh_mart(self, mart: str, trading_day: date) -> MartReceipt:
        """Replace one trading day of a mart by what the day's events say now."""
        ...

    def stale_days(self) -> list[date]:
        """Trading days whose marts or plan are of other events than now, or were made by another rule; oldest first."""
        ...

    def replace_plan(self, trading_day: date, plan: pl.DataFrame) -> None:
        """Replace a trading day's preload plan."""
        ...

    def newest_plan(self) -> tuple[date, pl.DataFrame] | None:
        """The latest preload plan and its trading day; None before there is one."""
        ...

    def faulty_contexts(self, trading_day: date) -> list[str]:
        """Contexts of a plan whose probabilities exceed one together, or that propose what is already open."""
        ...

    def mini_apps(self) -> list[str]:
        """The mini-apps that `app_transitions` knows."""
        ...

    def busiest_transitions(self, trading_day: date, count: int) -> pl.DataFrame:
        """Of a day, the commonest changes of mini-app: ``prev1``, ``next``, ``transitions``, ``dwell_s`` on average."""
        ...

    def transition_counts(self, until: date | None = None) -> pl.DataFrame:
        """The counts of `app_transitions` over its trading days, of all or up to one, in its own folds of users."""
        ...

    def transition_counts_by(self, fold_property: str) -> pl.DataFrame:
        """The same counts of all loaded events, in folds by a whole number that they carry under a property.

        The fold is null where the property is missing or holds something else.
        """
        ...

    def recent_mini_apps(self, user_id: str, count: int) -> list[str]:
        """What a user opened last in his last user session, oldest first; empty for one without events."""
        ...

    def read(self, query: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        """The rows of a query; ``?`` stands for a parameter."""
        ...
