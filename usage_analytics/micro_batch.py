"""The first step of a micro-batch: messages land, and are enriched on the way, several Kafka partitions at a time."""

import logging
from contextlib import ExitStack
from datetime import datetime

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.landing import LandingReport, Watch, Worker, land, nobody
from usage_analytics.settings import Settings
from usage_analytics.trading_calendar import Window

LOGGER = logging.getLogger(__name__)


def land_window(settings: Settings, window: Window, now: datetime) -> LandingReport:
    """Bring a window up to date: see `land`."""
    with ExitStack() as open_now:
        sources = [open_now.enter_context(parts.kafka_source(settings)) for _ in range(settings.parallel)]
        workers = [Worker(source, _watch(settings)) for source in sources]
        log, layout, limits = parts.offset_log(settings), parts.layout(settings), parts.limits(settings)
        return land(workers, log, layout, window, limits, now)


def _watch(settings: Settings) -> Watch:
    # Messages land whatever is wrong with the mapping or the key: enrichment itself will tell.
    try:
        return parts.enricher(settings).while_landing
    except UserError as error:
        LOGGER.warning("nothing is enriched while it is landed: %s", error)
        return nobody
