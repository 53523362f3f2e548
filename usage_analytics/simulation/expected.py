"""What a day is expected to bring, minute by minute: user sessions that start, and messages."""

from functools import lru_cache
from statistics import NormalDist

import numpy as np
import polars as pl

from usage_analytics.simulation import visits
from usage_analytics.simulation.bots import period_us
from usage_analytics.simulation.catalogue import ASSET_CLASSES, INSTRUMENTS_PER_CLASS, PERSONAS, WALKED
from usage_analytics.simulation.errands import tools_used
from usage_analytics.simulation.events import instrument_shares
from usage_analytics.simulation.lanes import sessions_scale
from usage_analytics.simulation.market_day import MINUTE_US, PHASES, ExchangeDay, MarketDay
from usage_analytics.simulation.navigation import DWELL_SPREAD, LED_BY_INSTRUMENT, START, navigation
from usage_analytics.simulation.population import Population
from usage_analytics.simulation.randomness import Reals
from usage_analytics.simulation.reactions import visits_per_day, waves
from usage_analytics.simulation.visits import CLASS_OF_DESK
from usage_analytics.simulation.walks import EVENTS_PER_USER_SESSION, MOST_STEPS, OWN_CLASS, USER_SESSIONS_PER_DAY

CELLS_PER_MINUTE, LONGEST_MINUTES = 12, 300  # how finely time is cut, and after how long all walks have ended
NORMAL = np.array([NormalDist().inv_cdf((n + 0.5) / 200) for n in range(200)])  # quantiles
SETTLED = 20  # steps after which a walk has forgotten where it began


def expected_by_minute(everyone: Population, market: MarketDay) -> pl.DataFrame:
    """exchange, minute_us, phase; expected starts of walks, errands and reactions; and expected messages.

    Messages count each event once, in the minute in which it happens by a true clock, whatever becomes of it on the
    way. Those of user sessions that outlast the last minute are in no row.
    """
    persona, present = everyone.persona(market.day), everyone.present(market.day)
    walking = USER_SESSIONS_PER_DAY[persona] * everyone.activity * sessions_scale(everyone, market.day) * present
    used = tools_used(everyone, np.arange(len(everyone)), market.day).sum(axis=1)
    reacting = visits_per_day(everyone, market)
    parts = []
    for exchange in market.exchanges:
        here = everyone.exchange == everyone.scenario.exchanges.index(exchange.exchange)
        minutes = exchange.first_minute + np.arange(len(exchange.starts))
        walks = exchange.starts * walking[here].sum()
        errands = exchange.starts / exchange.starts.sum() * used[here].sum()
        reactions = exchange.starts * waves(everyone.scenario.seed, minutes).mean(axis=1) * reacting[here].sum()
        by_persona = np.bincount(persona[here], walking[here], len(PERSONAS))
        of_walk = by_persona / max(by_persona.sum(), 1e-9) @ events_of_walks(everyone.scenario.seed)
        messages = _lasting(walks, of_walk) + _lasting(errands + reactions, events_of_visits())
        columns = {
            "exchange": [exchange.exchange] * len(minutes),
            "minute_us": minutes * MINUTE_US,
            "phase": np.array(PHASES)[exchange.phases],
            "walks": walks,
            "errands": errands,
            "reactions": reactions,
            "messages": messages + _of_bots(everyone, exchange),
        }
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts)


@lru_cache(maxsize=4)
def events_of_walks(seed: int) -> Reals:
    """Persona x minutes since the one in which a walk starts: how many of its events are expected then.

    As if each dwell time were drawn anew from all mini-apps of a persona's walks: right to within 3 in 100 in each of
    the minutes with most events (9 for operations clerks in the first), and exactly in all, for how long walks are
    does not depend on where they go.
    """
    medians, found = navigation(seed).dwell_s, []
    for where, each, mean in zip(_settled(seed), medians, EVENTS_PER_USER_SESSION, strict=True):
        found.append(_events(_steps(each, where, DWELL_SPREAD), 1 - 1 / mean, MOST_STEPS))
    return np.array(found)


@lru_cache(maxsize=1)
def events_of_visits() -> Reals:
    """The same for a visit, whoever makes it."""
    dwell = _steps(np.array([visits.DWELL_MEDIAN_S]), np.ones(1), visits.DWELL_SPREAD)
    return _events(dwell, visits.FURTHER, visits.MOST_FURTHER + 1)


def _settled(seed: int) -> Reals:
    """Persona x mini-app: how often each is used once walks have forgotten where they began."""
    planted = navigation(seed)
    leads = np.zeros((len(ASSET_CLASSES), len(WALKED)))
    asset_class = np.repeat(np.arange(len(ASSET_CLASSES)), INSTRUMENTS_PER_CLASS)
    np.add.at(leads, (asset_class, planted.leads_to), np.tile(instrument_shares(), len(ASSET_CLASSES)))
    pairs = np.zeros(planted.transitions.shape[:-1])
    pairs[:, :, START] = planted.mix[:, None]
    for _ in range(SETTLED):
        last = pairs.sum(axis=2)
        following = (1 - LED_BY_INSTRUMENT) * np.einsum("pcbl,pcbln->pcln", pairs, planted.transitions)
        pairs = np.zeros_like(pairs)
        pairs[:, :, :START] = following + LED_BY_INSTRUMENT * last[..., None] * leads[:, None]
    own = np.bincount(CLASS_OF_DESK, minlength=len(ASSET_CLASSES)) / len(CLASS_OF_DESK)
    shares = OWN_CLASS * own + (1 - OWN_CLASS) * (1 - own) / (len(own) - 1)
    return np.einsum("c,pcbl->pl", shares, pairs)


def _steps(medians: Reals, weights: Reals, spread: float) -> Reals:
    """Share of log-normal dwell times (medians in seconds) in each cell of time; between two cells, some in each."""
    cells = LONGEST_MINUTES * CELLS_PER_MINUTE
    at = np.minimum(medians[:, None] * np.exp(spread * NORMAL) * (CELLS_PER_MINUTE / 60), cells - 2).ravel()
    each = np.repeat(weights / weights.sum() / len(NORMAL), len(NORMAL))
    low = np.floor(at).astype(np.int64)
    later = at - low
    shares = np.bincount(low, each * (1 - later), cells) + np.bincount(low + 1, each * later, cells)
    return np.asarray(shares, np.float64)


def _events(step: Reals, further: float, most: int) -> Reals:
    """Expected events by minute since that of the start, if each of at most so many is followed by chance ``further``.

    An event lies as many steps after the start as it is events behind: the sum of the powers of the step's transform.
    """
    cells = 2 * len(step)  # so that what would come later does not come round again
    power = further * np.fft.rfft(step, cells)
    since_start = np.fft.irfft((1 - power**most) / (1 - power), cells)[: len(step)]
    in_minute = np.convolve(since_start, np.full(CELLS_PER_MINUTE, 1 / CELLS_PER_MINUTE))[: len(step)]
    return np.asarray(in_minute.reshape(-1, CELLS_PER_MINUTE).sum(axis=1))


def _lasting(starts: Reals, events: Reals) -> Reals:
    """Expected events in each minute of what starts in these minutes."""
    return np.convolve(starts, events)[: len(starts)]


def _of_bots(everyone: Population, exchange: ExchangeDay) -> float:
    here = everyone.exchange[everyone.is_bot] == everyone.scenario.exchanges.index(exchange.exchange)
    return float(here.sum() * MINUTE_US / period_us(everyone, exchange)) if here.any() else 0.0
