"""How soon after its arrival on Kafka a usage event can be queried."""

from dataclasses import dataclass

from usage_analytics.ingestion.shares import EVERYTHING
from usage_analytics.warehouse.ledger import days_of_window
from usage_analytics.warehouse.marts import sql
from usage_analytics.warehouse.protocol import Warehouse


@dataclass(frozen=True)
class Freshness:
    """Whole seconds from arrival on Kafka within which half, and 95 %, of a window's events could be queried.

    Arrival is Kafka's timestamp: by default (``CreateTime``) the producer's clock.
    """

    median_s: float
    p95_s: float


def freshness(warehouse: Warehouse, topic: str, window: str) -> Freshness | None:
    """How soon a window's usage events could be queried; None without events that carry their time of arrival."""
    with warehouse.session() as session:
        days = days_of_window(session, topic, EVERYTHING, window)
        median, p95 = session.frame(sql("freshness"), {"topic": topic, "load_window": window, **days}).row(0)
    return None if median is None else Freshness(median, p95)
