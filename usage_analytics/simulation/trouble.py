"""What goes wrong between the user's click and Kafka, planted and labelled."""

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import MINI_APPS
from usage_analytics.simulation.events import ERROR, Events, event_keys
from usage_analytics.simulation.market_day import INCIDENT_FACTOR, MarketDay
from usage_analytics.simulation.population import Population
from usage_analytics.simulation.randomness import Bits, Ints, Reals
from usage_analytics.simulation.scenario import MALFORMED_KINDS

# Bits of an event's `trouble`; those of a malformed message hold 1 + its position in MALFORMED_KINDS.
DUPLICATE, LATE, OUT_OF_ORDER, BOT, SKEWED = 1, 2, 4, 8, 16
MALFORMED_SHIFT = 8
NETWORK_MEDIAN_S, NETWORK_SPREAD = 0.08, 0.5
LATE_MEDIAN_S, LATE_SPREAD, LATE_MOST_S = 900.0, 0.8, 3 * 3600.0
OUT_OF_ORDER_S = (1.0, 20.0)
DUPLICATE_S = (0.5, 120.0)
OUTAGE_LATENCY_TENTHS = 300_000  # the client gives up after 30 s
LABELS = {DUPLICATE: "duplicate", LATE: "late", OUT_OF_ORDER: "out_of_order", BOT: "bot", SKEWED: "clock_skew"}


def with_trouble(events: Events, everyone: Population, market: MarketDay) -> Events:
    """Events on their way to Kafka: with arrival times, defects, and copies of those that arrive twice."""
    keys = event_keys(events["session"], events["step"])
    events["day"] = market.day.toordinal()
    _episodes(events, market)
    chance = _Chances(everyone, keys)
    rates = everyone.scenario.trouble
    late, jumbled = chance("late") < rates.late, chance("out of order") < rates.out_of_order
    delay = NETWORK_MEDIAN_S * np.exp(NETWORK_SPREAD * chance.normal("network"))
    delay += jumbled * _between(OUT_OF_ORDER_S, chance("how much out of order"))
    delay += late * np.minimum(LATE_MEDIAN_S * np.exp(LATE_SPREAD * chance.normal("how late")), LATE_MOST_S)
    events["arrival_us"] = events["time_us"] + (delay * 1e6).astype(np.int64)
    skew = everyone.clock_skew_us[events["user"]]
    events["time_us"] += skew
    flags = LATE * late + OUT_OF_ORDER * jumbled + BOT * everyone.is_bot[events["user"]] + SKEWED * (skew != 0)
    kind = 1 + (chance("kind of defect") * len(MALFORMED_KINDS)).astype(np.int64)
    events["trouble"] = flags + ((chance("malformed") < rates.malformed) * kind << MALFORMED_SHIFT)
    twice = (chance("duplicate") < rates.duplicates) & (malformed(events) == 0)
    copies = events[twice]
    copies["trouble"] |= DUPLICATE
    copies["arrival_us"] += (_between(DUPLICATE_S, chance("duplicate after")[twice]) * 1e6).astype(np.int64)
    return np.concatenate([events, copies])


def malformed(events: Events) -> Ints:
    """For each event 0, or 1 + the position of its defect in `MALFORMED_KINDS`."""
    return events["trouble"].astype(np.int64) >> MALFORMED_SHIFT


def _episodes(events: Events, market: MarketDay) -> None:
    for episode in market.episodes:
        if episode.kind == "news_spike":
            continue  # a matter of how many start, not of what happens to them
        during = (events["time_us"] >= episode.start_us) & (events["time_us"] < episode.end_us)
        during &= events["app"] == MINI_APPS.index(episode.subject)
        if episode.kind == "outage":
            events["action"][during], events["latency_tenths"][during] = ERROR, OUTAGE_LATENCY_TENTHS
        else:
            events["latency_tenths"][during] = events["latency_tenths"][during] * INCIDENT_FACTOR


class _Chances:
    """Draws for the same events, one purpose at a time."""

    def __init__(self, everyone: Population, keys: Bits) -> None:
        self._everyone, self._keys = everyone, keys

    def __call__(self, purpose: str) -> Reals:
        return randomness.uniform(self._everyone.stream(purpose), self._keys)

    def normal(self, purpose: str) -> Reals:
        return randomness.normal(self._everyone.stream(purpose), self._keys)


def _between(limits: tuple[float, float], chance: Reals) -> Reals:
    return limits[0] + (limits[1] - limits[0]) * chance
