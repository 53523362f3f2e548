"""The planted truth, written beside the messages: what a model should find, and what a check should count.

<folder>/world.json                    settings, personas, daily network, lead-lag pairs, adoption, churn, bots
<folder>/mini_apps.parquet             family, and medians of latency, payload and preload cost
<folder>/users.parquet                 firm, desk, role, persona before and after drift, clock skew, adoption, churn
<folder>/mix.parquet                   persona, mini_app, share, dwell_s (median seconds until the next action)
<folder>/first.parquet                 persona, phase, mini_app, probability
<folder>/transitions.parquet           persona, asset_class, before_last, last, next, probability if no instrument leads
<folder>/instruments.parquet           instrument, asset_class, leads_to: the mini-app where some steps with it go
<folder>/day=<day>/episodes.json       incidents, outages, news spikes; when the schema changes
<folder>/day=<day>/expected.parquet    exchange, minute, phase: user sessions expected to start in it, by kind; messages
<folder>/day=<day>/users.parquet       persona of each user, whether present, and which tools were used
<folder>/day=<day>/labels-…, minutes-…   what was sent: see labels.py
<folder>/day=<day>/sent.json           to where, and whether whole: see truth_folder.py

Times are microseconds since the epoch.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.simulation import bots as bots_
from usage_analytics.simulation import errands, events, reactions, trouble, visits, walks
from usage_analytics.simulation import market_day as market_day_
from usage_analytics.simulation import navigation as navigation_
from usage_analytics.simulation import population as population_
from usage_analytics.simulation.catalogue import (
    ADOPTED,
    ASSET_CLASSES,
    CHURNED,
    DAILY_NETWORK,
    DESKS,
    FAMILY_OF,
    INSTRUMENTS_PER_CLASS,
    LEAD_LAGS,
    MINI_APPS,
    PERSONAS,
    TOOLS,
    WALKED,
)
from usage_analytics.simulation.errands import ADOPTED_USE, CHURNED_USE, tools_used
from usage_analytics.simulation.events import app_traits, instrument_names
from usage_analytics.simulation.expected import expected_by_minute
from usage_analytics.simulation.market_day import PHASES, MarketDay, schema_change_us
from usage_analytics.simulation.navigation import HOME_HABIT, LED_BY_INSTRUMENT, navigation
from usage_analytics.simulation.population import (
    ADOPTION_MIDDLE,
    ADOPTION_PACE,
    CHURN_DAYS,
    Population,
    bots,
    firm_names,
    region,
)
from usage_analytics.simulation.rendering import user_name
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.truth_folder import WORLD, day_folder, described
from usage_analytics.simulation.writing import writing


def write_world(folder: Path, everyone: Population) -> None:
    """All that holds on every day."""
    scenario = everyone.scenario
    _write_json(folder / WORLD, _world(scenario))
    traits = app_traits(scenario.seed, scenario.spread)
    apps = {"mini_app": MINI_APPS, "family": [FAMILY_OF[app] for app in MINI_APPS], **asdict(traits)}
    _write(folder / "mini_apps.parquet", pl.DataFrame(apps))
    _write(folder / "users.parquet", _users(everyone))
    planted = navigation(scenario.seed)
    personas = [p.name for p in PERSONAS]
    mix = {"share": planted.mix, "dwell_s": planted.dwell_s}
    _write(folder / "mix.parquet", _long(mix, persona=personas, mini_app=WALKED))
    first = {"probability": planted.first}
    _write(folder / "first.parquet", _long(first, persona=personas, phase=PHASES, mini_app=WALKED))
    steps = {"persona": personas, "asset_class": ASSET_CLASSES, "before_last": [*WALKED, None], "last": WALKED}
    transitions = {"probability": planted.transitions.astype(np.float32)}
    _write(folder / "transitions.parquet", _long(transitions, **steps, next=WALKED))
    instruments = {
        "instrument": instrument_names(),
        "asset_class": np.repeat(ASSET_CLASSES, INSTRUMENTS_PER_CLASS),
        "leads_to": np.array(WALKED)[planted.leads_to],
    }
    _write(folder / "instruments.parquet", pl.DataFrame(instruments))


def write_day(folder: Path, everyone: Population, market: MarketDay) -> None:
    """All that is planned for one day."""
    place = day_folder(folder, market.day)
    episodes = [asdict(episode) for episode in market.episodes]
    _write_json(
        place / "episodes.json", {"episodes": episodes, "schema_change_us": schema_change_us(everyone.scenario)}
    )
    _write(place / "expected.parquet", expected_by_minute(everyone, market))
    users = np.arange(len(everyone))
    used = tools_used(everyone, users, market.day)
    columns = {
        "user": [user_name(int(user)) for user in users],
        "persona": np.array([p.name for p in PERSONAS])[everyone.persona(market.day)],
        "present": everyone.present(market.day),
        **{tool: used[:, number] for number, tool in enumerate(TOOLS)},
    }
    _write(place / "users.parquet", pl.DataFrame(columns))


def _world(scenario: Scenario) -> dict[str, Any]:
    return {
        "scenario": described(scenario),
        "personas": [asdict(persona) for persona in PERSONAS],
        "chance_to_start_at_the_favourite": HOME_HABIT,
        "chance_to_go_where_the_instrument_leads": LED_BY_INSTRUMENT,
        "daily_network": {t: {"rate": r, "log_odds_of_parents": parents} for t, (r, parents) in DAILY_NETWORK.items()},
        "lead_lag": [asdict(pair) for pair in LEAD_LAGS],
        "adoption": {"mini_app": ADOPTED, "middle_day": ADOPTION_MIDDLE, "pace": ADOPTION_PACE, "use": ADOPTED_USE},
        "churn": {"mini_app": CHURNED, "mean_days": CHURN_DAYS, "use": CHURNED_USE},
        "story_start": scenario.start,
        "schema_change_us": schema_change_us(scenario),
        "bots": [user_name(number) for number in range(scenario.users, scenario.users + bots(scenario))],
        "constants": _constants(),
    }


def _users(everyone: Population) -> pl.DataFrame:
    exchanges = everyone.scenario.exchanges
    desks, personas = list(DESKS), np.array([p.name for p in PERSONAS])
    roles = sorted({p.role for p in PERSONAS})
    return pl.DataFrame(
        {
            "user": [user_name(user) for user in range(len(everyone))],
            "client_firm": np.array(firm_names())[everyone.firm],
            "exchange": np.array(exchanges)[everyone.exchange],
            "region": np.array([region(exchange) for exchange in exchanges])[everyone.exchange],
            "desk": np.array(desks)[everyone.desk],
            "asset_class": np.array(list(DESKS.values()))[everyone.desk],
            "role": np.array(roles)[everyone.role],
            "is_bot": everyone.is_bot,
            "activity": everyone.activity,
            "favourite": np.array(WALKED)[everyone.favourite],
            "persona_first": personas[everyone.persona_first],
            "persona_then": personas[everyone.persona_then],
            "drift_day": everyone.drift_day,
            "adoption_day": everyone.adoption_day,
            "churn_day": everyone.churn_day,
            "clock_skew_us": everyone.clock_skew_us,
        }
    )


def _constants() -> dict[str, Any]:
    """What is the same in every world, by module and name."""
    modules = (bots_, errands, events, market_day_, navigation_, population_, reactions, trouble, visits, walks)
    return {
        module.__name__.rpartition(".")[2]: {
            name: value for name, value in vars(module).items()
            if name.isupper() and isinstance(value, int | float | str | tuple | dict)
        }
        for module in modules
    }  # fmt: skip


def _long(values: dict[str, Any], **axes: Any) -> pl.DataFrame:
    shape = tuple(len(names) for names in axes.values())
    grid = np.indices(shape, np.uint32, sparse=True)
    columns: dict[str, Any] = {}
    for (name, names), index in zip(axes.items(), grid, strict=True):
        columns[name] = pl.Series(list(names)).gather(np.broadcast_to(index, shape).ravel())
    return pl.DataFrame({**columns, **{name: array.ravel() for name, array in values.items()}})


def _write(path: Path, rows: pl.DataFrame) -> None:
    with writing(path):
        temporary = temporary_beside(path)
        pq.write_table(rows.to_arrow(), temporary, compression="zstd")  # unlike Polars, tells a full disk by an OSError
        publish(temporary, path)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with writing(path):
        temporary = temporary_beside(path)
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
        publish(temporary, path)
