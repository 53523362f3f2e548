"""What tests of the pool do to it, and what they see of it from outside."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from fakes import enriched_chunk

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.faults import Harm, Statement
    from usage_analytics_tests.synapse_pool.pool import Pool

WINDOWS = ["2026-11-23T1000", "2026-11-23T1015"]
DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
LONG = '{"note": "' + "x" * 4_000 + '"}'


def chunk(pool: Pool, window: str, kafka_partition: int, start: int, count: int, **event: Any) -> EnrichedChunk:
    """A chunk that a pool can read; every third event is of the day before, every fifth has long properties."""
    changes = {"fingerprint": event.pop("fingerprint", "f1")}
    events = [
        {
            "trading_day": DAYS[0] if number % 3 == 2 else DAYS[1],
            "properties": LONG if number % 5 == 4 else '{"a": 1}',
            "event_time_us": 1_795_446_000_000_000 + number * 60_000_000,
            **event,
        }
        for number in range(count)
    ]  # fmt: skip
    return enriched_chunk(pool.lake_folder, window, kafka_partition, start, events, compression="snappy", **changes)


def visible(pool: Pool) -> list[tuple[int, int, str]]:
    """The rows of the view, from outside: Kafka partition, offset and mini-app."""
    cursor = pool.connect()
    if not cursor.execute("SELECT 1 FROM duckdb_views() WHERE view_name = 'usage_events'").fetchall():
        return []
    query = "SELECT kafka_partition, kafka_offset, mini_app FROM usage_analytics.usage_events ORDER BY ALL"
    return cursor.execute(query).fetchall()


def in_tier(pool: Pool, tier: str, day: date | None = None) -> int:
    where = "" if day is None else f"WHERE trading_day = '{day}'"
    return pool.connect().execute(f"SELECT count(*) FROM usage_analytics.usage_events_{tier} {where}").fetchone()[0]


def ledger_agrees(pool: Pool) -> bool:
    """Whether each chunk of the ledger has its rows, and each row its chunk."""
    held = """
    SELECT load_window, kafka_partition, chunk_start, count(*), sum(kafka_offset) FROM usage_analytics.usage_events
    GROUP BY ALL ORDER BY ALL
    """
    told = """
    SELECT load_window, kafka_partition, start_offset, row_count, offset_sum FROM usage_analytics.load_ledger
    WHERE row_count > 0 ORDER BY ALL
    """
    cursor = pool.connect()
    return cursor.execute(held).fetchall() == cursor.execute(told).fetchall()


def statements_of(pool: Pool, operation: Callable[[], object]) -> int:
    """How many statements an operation sends."""
    before = len(pool.statements)
    operation()
    return len(pool.statements) - before


def harm_at(pool: Pool, number: int, harm: Harm) -> None:
    """Do harm at the so-manieth statement from now on."""
    counted = itertools.count()

    def is_it(statement: Statement) -> bool:
        return next(counted) == number

    pool.before(is_it, harm)
