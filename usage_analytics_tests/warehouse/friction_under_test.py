"""What `friction_of` must give, whatever the column store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
from closing import close_stale_days
from fakes import TOPIC

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.serving.decisions.economics import opening_facts
from usage_analytics.warehouse.openings import friction_of
from usage_analytics.warehouse.protocol import Warehouse

WINDOW = "2026-11-24T1000"
DAYS = [date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 24)]  # the 23rd has no events
SCHEMA = {
    "mini_app": pl.String, "action": pl.String, "timed": pl.Int64, "latency_us": pl.Int64, "sized": pl.Int64,
    "payload_bytes": pl.Int64,
}  # fmt: skip
Event = dict[str, Any]


def opened(day: int, mini_app: str, action: str | None = "open", **measured: float) -> Event:
    return {"trading_day": DAYS[day], "mini_app": mini_app, "action": action, **measured}


EVENTS = [
    opened(0, "quotes", latency_ms=1.0, payload_bytes=1e12),
    opened(1, "quotes", latency_ms=2.0, payload_bytes=10.7), opened(1, "chat", action=None, payload_bytes=5.0),
    opened(2, "quotes", latency_ms=4.0), opened(2, "quotes", payload_bytes=20.0), opened(2, "quotes", payload_bytes=-1),
    opened(2, "quotes", action="click", latency_ms=8.0),
]  # fmt: skip
CLICKED = ("quotes", "click", 1, 8_000, 0, 0)
OF_LAST_TWO_DAYS = [("chat", None, 0, 0, 1, 5), CLICKED, ("quotes", "open", 2, 6_000, 2, 30)]


def friction_adds_up_over_the_last_trading_days(
    warehouse: Warehouse, chunk: Callable[[str, list[Event]], EnrichedChunk]
) -> None:
    assert friction_of(warehouse, DAYS[2], 2).is_empty()
    warehouse.load_window(TOPIC, WINDOW, [chunk(WINDOW, EVENTS)])
    close_stale_days(warehouse)
    found = friction_of(warehouse, DAYS[2], 2)
    assert found.rows() == OF_LAST_TWO_DAYS and dict(found.schema) == SCHEMA
    assert opening_facts(found).rows() == [("chat", 0, 0, 1, 5), ("quotes", 2, 6_000, 2, 30)]
    assert friction_of(warehouse, DAYS[2], 1).rows() == [CLICKED, ("quotes", "open", 1, 4_000, 1, 20)]
    before = friction_of(warehouse, date(2026, 11, 23), 9).rows()
    assert before == [("chat", None, 0, 0, 1, 5), ("quotes", "open", 2, 3_000, 2, 10**12 + 10)]
    assert friction_of(warehouse, date(2026, 11, 18), 9).is_empty()
