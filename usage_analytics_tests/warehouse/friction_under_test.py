"""What `friction_of` must give, whatever the column store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest
from closing import close_stale_days
from fakes import TOPIC

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.serving.decisions.economics import estimate_economics, opening_facts
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
    opened(0, "quotes", latency_ms=1.0, payload_bytes=2.0**30),
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
    assert before == [("chat", None, 0, 0, 1, 5), ("quotes", "open", 2, 3_000, 2, 2**30 + 10)]
    assert friction_of(warehouse, date(2026, 11, 18), 9).is_empty()


HONEST = [opened(0, "quotes", latency_ms=200.0 + n / 5, payload_bytes=90_000.0 + 20 * n) for n in range(1_000)]
ABSURD = [
    {"payload_bytes": 1e12, "latency_ms": 250.0},  # what no event fetches is left out of its sum
    {"payload_bytes": 1e5, "latency_ms": 1.8e12},  # an instant in the wrong field, so is this
    {"payload_bytes": 1e5, "latency_ms": 1_740_000.0},  # a wait of 29 minutes that may have been one
]  # fmt: skip


def an_absurd_measurement_among_a_thousand_moves_nothing(
    warehouse: Warehouse, chunk: Callable[[str, list[Event]], EnrichedChunk]
) -> None:
    events = [*HONEST, *(opened(0, "quotes", **absurd) for absurd in ABSURD)]
    warehouse.load_window(TOPIC, WINDOW, [chunk(WINDOW, events)])
    receipt = close_stale_days(warehouse)[DAYS[0]]["friction"]
    assert (receipt.latencies_left_out, receipt.payloads_left_out) == (1, 1)
    found = estimate_economics(opening_facts(friction_of(warehouse, DAYS[0], 20)), ("quotes",))
    assert found.saved_ms[0] == pytest.approx(300.0, rel=0.005), "of all latencies the mean would be above 2,000"
    assert found.payload_bytes[0] == pytest.approx(1e5, rel=0.001), "of all payloads, a thousand times as much"
