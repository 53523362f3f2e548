"""Simulated events as arrays: what all generators give and the renderer takes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import (
    ASSET_CLASSES,
    INSTRUMENT_PREFIX,
    INSTRUMENTS_PER_CLASS,
    MINI_APPS,
    WALKED,
)
from usage_analytics.simulation.randomness import Bits, Ints, Reals

ACTIONS = ("open", "click", "refresh", "submit", "error")
OPEN, ERROR = ACTIONS.index("open"), ACTIONS.index("error")
FOLLOW_UPS = 3  # click, refresh and submit follow an opening
EVENT = np.dtype(
    [
        ("arrival_us", np.int64),  # when Kafka gets it
        ("time_us", np.int64),  # when it happens, by the user's own clock
        ("day", np.int32),  # ordinal of the simulated day to which it belongs, though it may arrive later
        ("session", np.uint64),
        ("step", np.int32),  # within the user session, from 0
        ("user", np.int32),
        ("app", np.int16),  # position in MINI_APPS
        ("action", np.int16),
        ("popup", np.int16),  # 1 where a notice brought the user there
        ("instrument", np.int16),  # asset class * INSTRUMENTS_PER_CLASS + number
        ("trouble", np.uint16),  # see trouble.py
        ("latency_tenths", np.int32),  # of milliseconds
        ("payload_bytes", np.int32),
    ]
)
Events = npt.NDArray[np.void]
NO_EVENTS: Events = np.empty(0, EVENT)
WALKED_IN_ALL = np.array([MINI_APPS.index(app) for app in WALKED])

LATENCY_MEDIAN_MS, LATENCY_SPREAD, FOLLOW_UP_SHARE = 260.0, 0.45, 0.25
PAYLOAD_MEDIAN_BYTES, PAYLOAD_SPREAD = 180_000.0, 0.25
PRELOAD_COST_MEDIAN_MS = 45.0
INSTRUMENT_SWITCH, INSTRUMENT_ZIPF = 0.12, 1.0


@dataclass(frozen=True)
class AppTraits:
    """Of each mini-app (`MINI_APPS`): the medians of latency and payload, and what preloading it costs the back end."""

    latency_ms: Reals
    payload_bytes: Reals
    preload_cost_ms: Reals


@lru_cache(maxsize=4)
def app_traits(seed: int, spread: float) -> AppTraits:
    """The traits under a seed; logarithms have standard deviation ``spread`` over the mini-apps, exactly."""

    def spread_out(purpose: str, median: float) -> Reals:
        draws = randomness.normal(randomness.stream(seed, purpose), np.arange(len(MINI_APPS)))
        return np.asarray(median * np.exp(spread * (draws - draws.mean()) / draws.std()), np.float64)

    return AppTraits(
        spread_out("latency of mini-apps", LATENCY_MEDIAN_MS),
        spread_out("payload of mini-apps", PAYLOAD_MEDIAN_BYTES),
        spread_out("preload cost of mini-apps", PRELOAD_COST_MEDIAN_MS),
    )


def event_keys(session: Bits, step: Ints) -> Bits:
    """What every draw of an event starts from."""
    return randomness.bits(np.uint64(0), step, session)


def set_costs(events: Events, traits: AppTraits, seed: int, keys: Bits) -> None:
    """Fill in latency and payload: an opening loads everything, a further action a part."""
    share = np.where(events["action"] == OPEN, 1.0, FOLLOW_UP_SHARE)
    noise = randomness.normal(randomness.stream(seed, "latency"), keys)
    latency = traits.latency_ms[events["app"]] * share * np.exp(LATENCY_SPREAD * noise)
    events["latency_tenths"] = np.maximum(np.rint(latency * 10), 1)
    size = randomness.normal(randomness.stream(seed, "payload"), keys)
    events["payload_bytes"] = np.rint(traits.payload_bytes[events["app"]] * share * np.exp(PAYLOAD_SPREAD * size))


def follow_up_actions(seed: int, keys: Bits) -> Ints:
    """Which further action each event is, if it is one."""
    return 1 + (randomness.unit(randomness.bits(randomness.stream(seed, "action"), keys)) * FOLLOW_UPS).astype(np.int64)


def instruments(asset_class: Ints, chance: Reals) -> Ints:
    """An instrument of each asset class, by Zipf's law."""
    number = randomness.choice(np.cumsum(instrument_shares()), chance)
    return asset_class * INSTRUMENTS_PER_CLASS + number


def instrument_shares() -> Reals:
    """How often each instrument of an asset class is drawn."""
    weights = np.arange(1, INSTRUMENTS_PER_CLASS + 1) ** -INSTRUMENT_ZIPF
    return np.asarray(weights / weights.sum(), np.float64)


def instrument_names() -> list[str]:
    """The instruments, by position."""
    return [f"{INSTRUMENT_PREFIX[c]}{n:03d}" for c in ASSET_CLASSES for n in range(INSTRUMENTS_PER_CLASS)]
