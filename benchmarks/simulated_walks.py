"""Walks of the simulated desktop's users, as arrays: what models are measured on without a broker in between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import SessionBatch
from usage_analytics.simulation.catalogue import ASSET_CLASSES, INSTRUMENTS_PER_CLASS, MINI_APPS, WALKED
from usage_analytics.simulation.events import OPEN, WALKED_IN_ALL
from usage_analytics.simulation.lanes import sessions_scale
from usage_analytics.simulation.market_day import market_day
from usage_analytics.simulation.navigation import LED_BY_INSTRUMENT, START, navigation
from usage_analytics.simulation.population import Population
from usage_analytics.simulation.walks import Walks
from usage_analytics.trading_calendar import PHASES, trading_calendar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOLDS, HELD_OUT = 5, 4
SESSIONS_AT_ONCE = 2_000
ENTITIES = len(ASSET_CLASSES) * INSTRUMENTS_PER_CLASS
Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WalkedDay:
    """The events of a day's walks, by user session and step."""

    user: Ints
    starts: Ints  # (sessions + 1,)
    app: Ints  # position in WALKED
    instrument: Ints
    time_us: Ints
    phase: Ints  # 1 + position in PHASES
    opens: npt.NDArray[np.bool_]  # else it is a further action, which loads less
    latency_ms: Reals
    payload_bytes: Reals
    likelihood: Reals  # with which each was drawn; NaN for the first of a session


def walk(everyone: Population, day: date) -> WalkedDay:
    """A day's walks, and how likely each step was."""
    market, planted = market_day(everyone.scenario, day), navigation(everyone.scenario.seed)
    walks = Walks(everyone, np.arange(len(everyone)), market, sessions_scale(everyone, day))
    events = np.concatenate([walks.starting(minute) for minute in market.slices])
    events = events[np.lexsort((events["step"], events["session"], events["user"]))]
    places = np.full(len(MINI_APPS), -1)
    places[WALKED_IN_ALL] = np.arange(len(WALKED))
    app, step = places[events["app"]], events["step"].astype(np.int64)
    user, instrument = events["user"].astype(np.int64), events["instrument"].astype(np.int64)
    moved = np.flatnonzero(step > 0)
    persona, in_hand = everyone.persona(day)[user[moved]], instrument[moved - 1]
    before_last = np.where(step[moved] > 1, app[np.maximum(moved - 2, 0)], START)
    likelihood = np.full(len(app), np.nan)
    walked = planted.transitions[persona, in_hand // INSTRUMENTS_PER_CLASS, before_last, app[moved - 1], app[moved]]
    led = planted.leads_to[in_hand] == app[moved]
    likelihood[moved] = (1 - LED_BY_INSTRUMENT) * walked + LED_BY_INSTRUMENT * led
    starts = np.append(np.flatnonzero(step == 0), len(app))
    return WalkedDay(
        user[starts[:-1]], starts, app, instrument, events["time_us"].astype(np.int64), phases_at(events["time_us"]),
        events["action"] == OPEN,
        events["latency_tenths"] / 10, events["payload_bytes"].astype(np.float64), likelihood,
    )  # fmt: skip


def phases_at(time_us: Ints) -> Ints:
    """The phases of the trading day, as the platform's calendar tells them: 1 + position in PHASES."""
    first, last = (EPOCH + timedelta(microseconds=int(time)) for time in (time_us.min(), time_us.max()))
    intervals = trading_calendar().phase_intervals(first, last)
    starts = np.array([(each.start - EPOCH) // timedelta(microseconds=1) for each in intervals])
    codes = np.array([1 + PHASES.index(each.phase) for each in intervals])
    return codes[np.searchsorted(starts, time_us, side="right") - 1]


def counts_of(day: WalkedDay) -> pl.DataFrame:
    """Rows as those of ``app_transitions``."""
    lengths = np.diff(day.starts)
    step = np.arange(len(day.app)) - np.repeat(day.starts[:-1], lengths)
    names = pl.Series(WALKED)
    columns = {"next": names[day.app], "fold": np.repeat(day.user % FOLDS, lengths)}
    for back in (1, 2, 3):
        known = pl.Series(step >= back)
        columns[f"prev{back}"] = (
            names[np.roll(day.app, back)].to_frame("name").select(pl.when(known).then(pl.col("name"))).to_series()
        )
    rows = pl.DataFrame(columns)
    return rows.group_by(rows.columns).agg(pl.len().cast(pl.Int64).alias("transitions"))


def visits_of(day: WalkedDay, users: int) -> Reals:
    """How often each user came to each mini-app from another, or began with it: (users, mini_apps)."""
    opens = np.ones(len(day.app), np.bool_)
    opens[1:] = day.app[1:] != day.app[:-1]
    opens[day.starts[:-1]] = True
    user = np.repeat(day.user, np.diff(day.starts))[opens]
    cells = user * len(WALKED) + day.app[opens]
    return np.bincount(cells, minlength=users * len(WALKED)).reshape(users, -1).astype(np.float64)


def batches(day: WalkedDay, sessions: Ints, mini_apps: Sequence[str], classes: Ints) -> Iterator[SessionBatch]:
    """Some of a day's user sessions; ``classes``: of all users."""
    codes = np.array([mini_apps.index(app) + 1 for app in WALKED])
    for first in range(0, len(sessions), SESSIONS_AT_ONCE):
        some = sessions[first : first + SESSIONS_AT_ONCE]
        lengths = np.diff(day.starts)[some]
        starts = np.append(0, np.cumsum(lengths))
        events = np.repeat(day.starts[some] - starts[:-1], lengths) + np.arange(starts[-1])
        users = day.user[some]
        coded = CodedSessions(
            codes[day.app[events]], starts, day.instrument[events] + 1, day.phase[events], classes[users]
        )
        names = pa.array([f"{user:016x}{user:016x}" for user in users.tolist()])
        yield SessionBatch(names, coded, day.time_us[events])


def openings_of(day: WalkedDay) -> pl.DataFrame:
    """What `estimate_economics` goes by."""
    opened = pl.DataFrame({"app": day.app[day.opens], "latency_ms": day.latency_ms[day.opens],
                           "payload_bytes": day.payload_bytes[day.opens]})  # fmt: skip
    summed = opened.group_by("app").agg(
        pl.len().alias("openings"), (pl.col("latency_ms").sum() * 1e3).alias("latency_us"), pl.len().alias("sized"),
        pl.col("payload_bytes").sum(),
    )  # fmt: skip
    return summed.with_columns(pl.Series("mini_app", [WALKED[app] for app in summed["app"]]))
