"""What preloads save and cost by what the warehouse has measured of openings; and the price of each part of the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from usage_analytics.serving.arrays import Floats
from usage_analytics.serving.decisions.economics import (
    Economics,
    estimate_economics,
    estimate_payloads,
    opening_facts,
    unnamed_openings,
)
from usage_analytics.serving.decisions.expected_value import USUAL_PRICE, Budget
from usage_analytics.serving.decisions.moments import KnownMoments
from usage_analytics.serving.decisions.prewarming import DayLoad, balance_load
from usage_analytics.serving.decisions.prices import busiest_minute, expected_calls, preload_demand
from usage_analytics.trading_calendar import TradingClock
from usage_analytics.warehouse.minute_usage import minute_usage
from usage_analytics.warehouse.openings import friction_of
from usage_analytics.warehouse.protocol import Warehouse

MEASURED_DAYS = 20
TIME_TO_LIVE_S = 1_800.0  # of what was preloaded: so long ahead it may be made
# Where no latency is measured, every mini-app is as worth preloading as the others, from this probability on.
MINIMUM_PROBABILITY, SAVED_MS = 0.05, 1_000.0


def economics_of(warehouse: Warehouse, trading_day: date, mini_apps: tuple[str, ...]) -> Economics:
    """Those measured over the last trading days; but for payloads equal ones where no opening carries a latency."""
    friction = friction_of(warehouse, trading_day, MEASURED_DAYS)
    facts = opening_facts(friction)
    if not facts.get_column("openings").sum():
        return replace(equal_economics(mini_apps), payload_bytes=estimate_payloads(facts, mini_apps))
    unnamed = set(unnamed_openings(friction))
    return replace(estimate_economics(facts, mini_apps), unnamed=tuple(app for app in mini_apps if app in unnamed))


def equal_economics(mini_apps: tuple[str, ...]) -> Economics:
    """Those of mini-apps of which nothing is known: a preload is worth it from MINIMUM_PROBABILITY on."""
    saved = np.full(len(mini_apps), SAVED_MS)
    return Economics(mini_apps, saved, saved * MINIMUM_PROBABILITY, np.zeros(len(mini_apps)), mini_apps, mini_apps)


def load_of_day(
    warehouse: Warehouse,
    clock: TradingClock,
    trading_day: date,
    moments: KnownMoments,
    economics: Economics,
    budget: Budget,
) -> DayLoad | None:
    """Prices by window, as the back end has room beside what users open; it can take what its busiest minute had.

    moments: what users meet, and what is likely there. None where no usage in trading hours is known.
    """
    minutes = len(clock.hours) * 60
    usage = minute_usage(warehouse, clock, trading_day, MEASURED_DAYS)
    if usage.filter(usage["minute"].is_between(0, minutes - 1)).is_empty():
        return None
    times_met = moments.transitions.transitions.astype(np.float64)
    demand = preload_demand(moments.probabilities, moments.moments, times_met, economics, budget)
    calls, capacity = expected_calls(usage, minutes), busiest_minute(usage, minutes)
    return balance_load(calls, capacity, demand, TIME_TO_LIVE_S, clock.window_minutes)


def usual_prices(clock: TradingClock) -> Floats:
    """The price of an idle back end, for each window."""
    return np.full(clock.windows_per_day, USUAL_PRICE)
