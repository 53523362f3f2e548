"""Short visits to one mini-app, each a user session of its own: what errands and reactions are made of."""

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import ASSET_CLASSES, DESKS
from usage_analytics.simulation.events import (
    EVENT,
    OPEN,
    Events,
    app_traits,
    event_keys,
    follow_up_actions,
    instruments,
    set_costs,
)
from usage_analytics.simulation.market_day import MINUTE_US
from usage_analytics.simulation.population import Population
from usage_analytics.simulation.randomness import Bits, Ints

FURTHER, MOST_FURTHER = 0.4, 5  # chance of each further action
EVENTS_PER_VISIT = (1 - FURTHER ** (MOST_FURTHER + 1)) / (1 - FURTHER)
DWELL_MEDIAN_S, DWELL_SPREAD = 12.0, 0.6
CLASS_OF_DESK = np.array([ASSET_CLASSES.index(asset_class) for asset_class in DESKS.values()])


def visits(everyone: Population, key: Bits, user: Ints, app: Ints, minute: Ints) -> Events:
    """The events of visits, one behind the other: who visits which mini-app (`MINI_APPS`) in which minute (epoch)."""
    second = randomness.uniform(everyone.stream("visit second"), key)
    start_us = minute * MINUTE_US + (second * MINUTE_US).astype(np.int64)
    chance = randomness.uniform(everyone.stream("visit length"), key)
    length = 1 + np.minimum(np.floor(np.log1p(-chance) / np.log(FURTHER)), MOST_FURTHER).astype(np.int64)
    row = np.repeat(np.arange(len(user)), length)
    begins = np.cumsum(length) - length
    step = np.arange(len(row)) - begins[row]
    keys = event_keys(key[row], step)
    scenario = everyone.scenario

    events = np.zeros(len(row), EVENT)
    events["session"], events["step"], events["user"], events["app"] = key[row], step, user[row], app[row]
    events["action"] = np.where(step == 0, OPEN, follow_up_actions(scenario.seed, keys))
    chance = randomness.uniform(everyone.stream("visit instrument"), key)
    events["instrument"] = instruments(CLASS_OF_DESK[everyone.desk[user]], chance)[row]
    noise = DWELL_SPREAD * randomness.normal(everyone.stream("dwell"), keys)
    dwell_us = np.where(step == 0, 0, DWELL_MEDIAN_S * np.exp(noise) * 1e6).astype(np.int64)
    since_all = np.cumsum(dwell_us)
    events["time_us"] = start_us[row] + since_all - since_all[begins[row]]
    set_costs(events, app_traits(scenario.seed, scenario.spread), scenario.seed, keys)
    return events
