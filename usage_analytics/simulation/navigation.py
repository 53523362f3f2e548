"""How each persona walks from mini-app to mini-app: a second-order Markov chain, its start, and its pace."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import (
    ASSET_CLASSES,
    CLASS_OF_APP,
    FAMILY_OF,
    INSTRUMENTS_PER_CLASS,
    PERSONAS,
    WALKED,
)
from usage_analytics.simulation.market_day import PHASES
from usage_analytics.simulation.randomness import Ints, Reals

START = len(WALKED)  # stands for "nothing before" as the mini-app before the last
WORKFLOW_SPREAD = 1.1  # how sharply a mini-app leads to others, whoever uses it
SECOND_SPREAD = 0.9  # how much the mini-app before the last matters
LIKING_SPREAD = 0.5  # how unevenly a persona likes the mini-apps of a family
OTHER_FAMILIES = 0.35
CLASS_TILT = 1.5
LED_BY_INSTRUMENT = 0.06  # chance that a step goes where the instrument in hand leads, whoever walks
PHASE_TILT = {
    "pre_open": {"news": 1.2, "research": 0.8}, "opening": {"trading": 0.8, "market_data": 0.8},
    "midday": {}, "closing": {"trading": 0.9, "portfolio_risk": 0.6},
    "after_close": {"operations": 1.2, "portfolio_risk": 0.9},
}  # fmt: skip
HOME_HABIT = 0.35  # chance that a user session begins in the user's own favourite
DWELL_MEDIAN_S, DWELL_SPREAD_OF_APPS, DWELL_SPREAD = 14.0, 0.4, 0.7


@dataclass(frozen=True)
class Navigation:
    """The planted walk; mini-apps are positions in `WALKED`.

    mix:         persona x mini-app, how much each is liked
    first:       persona x phase x mini-app, where a user session starts that does not start at the user's favourite
    transitions: persona x asset class x before-last (`START` last) x last x next, where the instrument does not lead
    leads_to:    instrument, the mini-app to which it leads
    dwell_s:     persona x mini-app, median seconds until the next action
    """

    mix: Reals
    first: Reals
    transitions: Reals
    leads_to: Ints
    dwell_s: Reals
    _ladder: Reals  # cumulative transitions, row r from r to r + 1

    def next(
        self, persona: Ints, asset_class: Ints, before_last: Ints,
        last: Ints, instrument: Ints, chance: Reals,
    ) -> Ints:  # fmt: skip
        """The next mini-app of each walk, drawn by uniform chances; the instrument is the one in hand at the last."""
        led = chance < LED_BY_INSTRUMENT
        chance = (chance - LED_BY_INSTRUMENT) / (1 - LED_BY_INSTRUMENT)
        apps = len(WALKED)
        row = ((persona * len(ASSET_CLASSES) + asset_class) * (apps + 1) + before_last) * apps + last
        # A row of so few is sooner counted than searched, which would miss the processor's cache at each step.
        walked = np.minimum((self._ladder[row] <= (row + chance)[:, None]).sum(axis=1), apps - 1)
        return np.where(led, self.leads_to[instrument], walked)


@lru_cache(maxsize=4)
def navigation(seed: int) -> Navigation:
    """The walk of all personas under a seed."""
    apps, personas = len(WALKED), len(PERSONAS)
    likes = _lognormal(seed, "liking", LIKING_SPREAD, personas, apps)
    affinity = np.array([[p.families.get(FAMILY_OF[app], OTHER_FAMILIES) for app in WALKED] for p in PERSONAS])
    mix = _normalised(affinity * likes)
    first = np.stack([_normalised(mix * _phase_tilt(phase)) for phase in PHASES], axis=1)
    transitions = _transitions(seed, mix)
    of_apps = _lognormal(seed, "dwell", DWELL_SPREAD_OF_APPS, personas, apps)
    dwell_s = DWELL_MEDIAN_S * of_apps * np.array([[p.pace] for p in PERSONAS])
    steps = np.cumsum(transitions.reshape(-1, apps), axis=1)
    ladder: Reals = np.minimum(steps / steps[:, -1:], 1.0) + np.arange(len(steps))[:, None]
    return Navigation(mix, first, transitions, _leads(seed), dwell_s, ladder)


def _transitions(seed: int, mix: Reals) -> Reals:
    apps = len(WALKED)
    workflow = _lognormal(seed, "workflow", WORKFLOW_SPREAD, apps, apps)
    second = _lognormal(seed, "second order", SECOND_SPREAD, apps + 1, apps, apps)
    second[START] = 1.0
    tilt = np.array([[_class_tilt(app, asset_class) for app in WALKED] for asset_class in ASSET_CLASSES])
    walk = mix[:, None, None, None, :] * tilt[None, :, None, None, :] * (workflow * second)[None, None]
    walk /= walk.sum(axis=-1, keepdims=True)
    revisit = np.array([p.revisit for p in PERSONAS])[:, None, None, None]
    repeat = np.array([p.repeat for p in PERSONAS])[:, None, None, None]
    back, same = np.zeros((apps + 1, apps, apps)), np.zeros((apps + 1, apps, apps))
    each = np.arange(apps)
    back[each, :, each] = 1.0  # to the mini-app before the last
    same[:, each, each] = 1.0  # a further action in the last
    can_go_back = back.sum(axis=-1)
    walk *= (1 - repeat - revisit * can_go_back)[..., None]
    return np.asarray(walk + revisit[..., None] * back + repeat[..., None] * same, np.float64)


def _leads(seed: int) -> Ints:
    """Each instrument leads to any mini-app but those at home in another asset class."""
    source, found = randomness.stream(seed, "where an instrument leads"), []
    for number, asset_class in enumerate(ASSET_CLASSES):
        able = np.array([n for n, app in enumerate(WALKED) if CLASS_OF_APP.get(app, asset_class) == asset_class])
        instruments = number * INSTRUMENTS_PER_CLASS + np.arange(INSTRUMENTS_PER_CLASS)
        found.append(able[(randomness.uniform(source, instruments) * len(able)).astype(np.int64)])
    return np.concatenate(found)


def _lognormal(seed: int, purpose: str, spread: float, *shape: int) -> Reals:
    draws = randomness.normal(randomness.stream(seed, purpose), np.arange(int(np.prod(shape))))
    return np.exp(spread * draws).reshape(shape)


def _normalised(weights: Reals) -> Reals:
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float64)


def _phase_tilt(phase: str) -> Reals:
    return np.exp([PHASE_TILT[phase].get(FAMILY_OF[app], 0.0) for app in WALKED])


def _class_tilt(app: str, asset_class: str) -> float:
    home = CLASS_OF_APP.get(app)
    if home is None:
        return 1.0
    return float(np.exp(CLASS_TILT if home == asset_class else -CLASS_TILT))
