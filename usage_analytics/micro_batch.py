"""The first step of a micro-batch: messages land, and are enriched on the way, several Kafka partitions at a time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from usage_analytics import parts
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.ingestion.chunk_landing import ChunkObserver, Worker
from usage_analytics.ingestion.landing import LandingReport, land
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.settings import Settings
from usage_analytics.trading_calendar import Window

LOGGER = logging.getLogger(__name__)


def land_window(settings: Settings, window: Window, now: datetime, share: Share = EVERYTHING) -> LandingReport:
    """Bring a share of a window up to date: see `land`."""

    @contextmanager
    def hire() -> Iterator[Worker]:
        with parts.kafka_source(settings) as source:
            yield Worker(source, _Enrichment(settings).observer)

    log, layout = parts.offset_log(settings, share), parts.layout(settings)
    return land(hire, log, layout, window, parts.limits(settings), now)


class _Enrichment:
    """Has the chunks of one worker enriched; messages land whatever is wrong with that, and enrichment itself tells."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._enricher: Enricher | None = None
        self._failed = False

    def observer(self, kafka_partition: int) -> ChunkObserver | None:
        if self._enricher is None and not self._failed:
            try:
                self._enricher = parts.enricher(self._settings)
            except Exception as error:
                self._failed = True
                LOGGER.warning("nothing is enriched while it is landed: %s", error)
        return None if self._enricher is None else self._enricher.while_landing(kafka_partition)
