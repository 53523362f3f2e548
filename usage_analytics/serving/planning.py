"""Makes the preload plan of a trading day from its next-action model and from what openings cost and save."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.arrays import Ints
from usage_analytics.models.branching.factored_model import FactoredModel, Origin
from usage_analytics.models.branching.sessions.user_sessions import FOLDS, read_sessions
from usage_analytics.models.branching.training import MODEL, SESSIONS
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.learned_economics import economics_of, load_of_day, usual_prices
from usage_analytics.serving.decisions.prewarming import DayLoad
from usage_analytics.serving.decisions.prewarms import Prewarms, prewarms_of, slots_served
from usage_analytics.serving.decisions.priced_moments import PricedDay, missed_openings
from usage_analytics.serving.decisions.session_moments import moments_of
from usage_analytics.serving.plan.chosen_base import as_served
from usage_analytics.serving.plan.filling import tables_of
from usage_analytics.serving.plan.rows import plan_rows
from usage_analytics.serving.plan.scope import BUDGET, contexts_anywhere, contexts_of
from usage_analytics.serving.plan.tables import PlanFacts, PlanTables
from usage_analytics.trading_calendar import PHASES, TradingCalendar, TradingClock
from usage_analytics.warehouse.minute_usage import opening_us
from usage_analytics.warehouse.protocol import Warehouse

DAYS_USED = 31  # at most: later, prices and phases of a plan are too old to be told
LONGEST_TOLD = 2  # mini-apps of a context that has rows in the warehouse


@dataclass(frozen=True)
class MadePlan:
    """A plan as rows of the warehouse, as `plan_rows` gives them, and as what its file holds; and what it rests on."""

    rows: pl.DataFrame
    tables: PlanTables
    economics: Economics
    load: DayLoad | None
    origin: Origin  # of its model


def make_plan(
    warehouse: Warehouse, layout: Layout, trading_day: date, calendar: TradingCalendar, made_at: datetime
) -> MadePlan:
    """The plan of a trading day; `UserError` before it has a model."""
    folder = layout.model(MODEL, trading_day)
    try:
        served = as_served(layout, FactoredModel.load(folder))
        moments = moments_of(layout, trading_day, served.model)
    except (UserError, OSError) as error:
        raise UserError(f"preload_plan of {trading_day}: {error}; materialize next_action_model first") from None
    model = served.model
    clock = calendar.clock
    economics = economics_of(warehouse, trading_day, model.mini_apps)
    load = load_of_day(warehouse, clock, trading_day, moments, economics, BUDGET) if moments else None
    facts = PlanFacts(
        trading_day=trading_day,
        probabilities_of=served.told,
        transitions=model.counts.transitions,
        budget=BUDGET,
        created_at=made_at,
        timezone=clock.timezone,
        first_slot=time(clock.opening_hour),
        slot_minutes=clock.window_minutes,
        holds_on=trading_days_from(calendar, trading_day),
    )
    prices = usual_prices(clock) if load is None else load.price
    prewarms = None if load is None else _prewarms(layout, trading_day, clock, model, load, economics)
    contexts, phases = contexts_of(model.counts, model.counts.max_order), slot_phases(calendar, trading_day)
    tables = tables_of(model, contexts, economics, facts, prices, phases, prewarms=prewarms)
    rows = plan_rows(model, contexts_anywhere(model.counts, LONGEST_TOLD), economics, BUDGET)
    return MadePlan(rows, tables, economics, load, model.origin)


def trading_days_from(calendar: TradingCalendar, trading_day: date) -> tuple[date, ...]:
    """This trading day and those that follow, as far as a plan is to be used: a month."""
    days = (trading_day + timedelta(days=n) for n in range(DAYS_USED))
    return tuple(day for day in days if calendar.is_trading_day(day))


def slot_phases(calendar: TradingCalendar, trading_day: date) -> Ints:
    """The phase in which each slot of the trading day after this one begins, by local time: 1 + position in PHASES."""
    following = (*trading_days_from(calendar, trading_day), trading_day)[1]
    clock = calendar.clock
    opening = datetime.combine(following, time(clock.opening_hour))  # slots are of local time, also as clocks change
    starts = (opening + timedelta(minutes=clock.window_minutes * slot) for slot in range(clock.windows_per_day))
    phases = [calendar.phase_at(start.replace(tzinfo=clock.zone)) for start in starts]
    return np.array([1 + PHASES.index(phase) for phase in phases], np.int64)


def _prewarms(
    layout: Layout, trading_day: date, clock: TradingClock, model: FactoredModel, load: DayLoad, economics: Economics
) -> Prewarms:
    """What the day's sampled users would have had to fetch ahead, by what they opened when it was dear."""
    slots = np.zeros(len(load.price), np.bool_)
    for slot, ahead in slots_served(load):
        slots[[slot, *ahead]] = True
    day = PricedDay(opening_us(clock, trading_day), clock.window_minutes, load.price)
    sessions = layout.model(MODEL, trading_day) / SESSIONS
    batches = read_sessions([sessions], model.mini_apps, range(FOLDS), model.known) if slots.any() else ()
    events = missed_openings(model, batches, day, economics, BUDGET, slots)
    return prewarms_of(events, load, economics, BUDGET, len(model.factors.classes))
