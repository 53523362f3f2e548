"""What prices by the load are worth on a trading day held out, and fetching ahead of them; and what the back end gets.

    .venv/bin/python benchmarks/prewarming.py
    .venv/bin/python benchmarks/prewarming.py --messages 500000 --users 5000    # a minute

Walks of the simulated desktop, whose users come in crowds at the opening bell (see learned_walks.py for what is
learned). As `preload_plan` does it, in the same slots of fifteen minutes: the calls expected in each minute are the
mean of the days learned from, the capacity is what their busiest minute had, prices and what is fetched ahead are made
of the last of these days. What a preload costs is charged at the plan's price of its time, so that the lines can be
compared; what is fetched ahead serves one opening that the look-up `next` has not preloaded. Waiting is that of all
openings, the first ones of user sessions too. "too busy": minutes above the capacity that without preloads are not.
"""

import argparse
from datetime import date

import numpy as np
import polars as pl
from learned_walks import Learned, learn, measured

from usage_analytics.reporting.terminal import print_table
from usage_analytics.serving.arrays import Flags, Floats
from usage_analytics.serving.decisions.economics import Economics
from usage_analytics.serving.decisions.learned_economics import TIME_TO_LIVE_S
from usage_analytics.serving.decisions.prewarming import DayLoad, balance_load
from usage_analytics.serving.decisions.prewarms import Prewarms, UserEvents, first_in_slot, prewarms_of, slots_served
from usage_analytics.serving.decisions.priced_moments import PricedDay, missed_openings
from usage_analytics.serving.decisions.prices import busiest_minute, expected_calls, preload_demand
from usage_analytics.serving.decisions.session_moments import known_moments
from usage_analytics.serving.judging.priced_replay import ByMinute, replay_preloads, replay_prewarms, usage_by_minute
from usage_analytics.serving.plan.scope import BUDGET
from usage_analytics.simulation.population import population
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario, trading_days
from usage_analytics.trading_calendar import TradingClock
from usage_analytics.warehouse.minute_usage import MINUTE_US, opening_us

LAST = date(2026, 11, 20)
CLOCK = TradingClock()
LEARNED_FROM = 1  # fold of users by whom demand is reckoned


def main() -> None:
    """Learn, plan, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=2_000_000, help="of an ordinary day")
    parser.add_argument("--days", type=int, default=5, help="the last is held out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--capacity", type=float, default=1.0, help="times that of the busiest minute")
    chosen = parser.parse_args()
    days = trading_days(("XNYS",), date(2026, 9, 1), LAST)[-chosen.days :]
    scenario = Scenario(days, chosen.seed, chosen.messages, chosen.users, trouble=NO_TROUBLE, lanes=1)
    learned = learn(population(scenario))
    economics = measured(scenario, learned.model.mini_apps)
    load, capacity = planned(learned, economics, days, chosen.capacity)
    prewarms = fetched_ahead(learned, economics, load, days[-2])
    print_plan(load, prewarms, learned, economics)
    judge(learned, economics, load, prewarms, capacity, days[-1])


def planned(learned: Learned, economics: Economics, days: tuple[date, ...], share: float) -> tuple[DayLoad, float]:
    """Prices, and the capacity that they keep to."""
    usage = pl.concat([
        pl.DataFrame({"trading_day": day, "minute": (times_us - opening_us(CLOCK, day)) // MINUTE_US, "events": 1})
        for day, times_us in zip(days[:-1], learned.times_us, strict=True)
    ])  # fmt: skip
    minutes = len(CLOCK.hours) * 60
    met = known_moments(learned.model, learned.last.of_fold(LEARNED_FROM))
    times_met = met.transitions.transitions.astype(np.float64)
    demand = preload_demand(met.probabilities, met.moments, times_met, economics, BUDGET)
    capacity = share * busiest_minute(usage, minutes)
    calls = expected_calls(usage, minutes)
    return balance_load(calls, capacity, demand, TIME_TO_LIVE_S, CLOCK.window_minutes), capacity


def fetched_ahead(learned: Learned, economics: Economics, load: DayLoad, day: date) -> Prewarms:
    """What a plan of the day would have users fetch."""
    priced = PricedDay(opening_us(CLOCK, day), CLOCK.window_minutes, load.price)
    events = missed_openings(learned.model, learned.last.of_all(), priced, economics, BUDGET, _concerned(load))
    return prewarms_of(events, load, economics, BUDGET, len(learned.model.factors.classes))


def print_plan(load: DayLoad, prewarms: Prewarms, learned: Learned, economics: Economics) -> None:
    """The slots in which something is fetched ahead."""
    chosen = prewarms.chosen(economics, BUDGET)
    rows = []
    for row, (slot, price) in enumerate(zip(prewarms.slots.tolist(), prewarms.prices.tolist(), strict=True)):
        of_all = np.flatnonzero(chosen[row, 0])
        told = ", ".join(f"{learned.model.mini_apps[app]} {prewarms.chances[row, 0, app]:.2f}" for app in of_all)
        ahead = load.price[slot + 1 : prewarms.ends[row]].max()
        rows.append((_clock(slot), load.price[slot], price, float(ahead), chosen[row].sum(axis=1).mean(), told))
    print_table("Fetched ahead", ("from", "price", "of fetching", "next price", "each fetches", "by all users"), rows)


def judge(
    learned: Learned, economics: Economics, load: DayLoad, prewarms: Prewarms, capacity: float, held_out: date
) -> None:
    """A line for each way to decide."""
    day = PricedDay(opening_us(CLOCK, held_out), CLOCK.window_minutes, load.price)
    flat = PricedDay(day.began_us, day.slot_minutes, np.ones(len(load.price)))
    model, tested = learned.model, learned.held_out.of_all
    events, waiting = usage_by_minute(tested(), day, economics)
    by_price = replay_preloads(model, tested(), day, economics, BUDGET)
    missed = missed_openings(model, tested(), day, economics, BUDGET, _concerned(load))
    ahead = replay_prewarms(missed, prewarms, day, economics, BUDGET)
    ways = {
        "nothing": ByMinute(*(np.zeros(len(events)) for _ in range(4))),
        "price 1 all day": replay_preloads(model, tested(), flat, economics, BUDGET, day),
        "prices": by_price,
        "prices, fetching ahead": by_price + ahead,
    }
    dearest = np.append(np.repeat(load.price == load.price.max(), CLOCK.window_minutes), False)
    rows = [
        (name, f"{way.net_ms / events.sum():.1f}", f"{way.saved_ms.sum() / waiting.sum():.3f}",
         f"{way.saved_ms[dearest].sum() / waiting[dearest].sum():.3f}", int(way.calls.sum()),
         *_busy(events + way.calls, events, capacity))
        for name, way in ways.items()
    ]  # fmt: skip
    columns = ("", "net ms a step", "waiting removed", "in the dearest slot", "preloads", "busiest minute", "too busy")
    print_table(f"{held_out}: {int(events.sum()):,} steps; capacity {capacity:,.0f} calls a minute", columns, rows)
    calls, hits = int(ahead.calls.sum()), int(ahead.hits.sum())
    here, before = (missed.user[missed.minute // day.slot_minutes == slot] for slot in _dearest_and_before(load))
    there = np.isin(np.unique(here), before).mean()
    print(f"of the users active in the dearest slot, {there:.1%} were so in the one before, and could ask")
    expected = expected_hits(missed, prewarms, economics)
    print(
        f"fetched ahead: {calls:,}, of which {hits:,} were used; expected were {expected:,.0f} in the slots ahead alone"
    )


def expected_hits(events: UserEvents, prewarms: Prewarms, economics: Economics) -> float:
    """How many of what these users fetch they would miss later, by the plan's chances."""
    by_class = (prewarms.chosen(economics, BUDGET) * prewarms.chances).sum(axis=2)
    return sum(
        float(by_class[row, events.user_class[first_in_slot(events, slot, CLOCK.window_minutes)]].sum())
        for row, slot in enumerate(prewarms.slots.tolist())
    )


def _concerned(load: DayLoad) -> Flags:
    """The slots in which something may be fetched ahead, and those that it is for."""
    slots = np.zeros(len(load.price), np.bool_)
    for slot, ahead in slots_served(load):
        slots[[slot, *ahead]] = True
    return slots


def _dearest_and_before(load: DayLoad) -> tuple[int, int]:
    dearest = int(load.price.argmax())
    return dearest, dearest - 1


def _busy(load: Floats, calls: Floats, capacity: float) -> tuple[str, int]:
    """The busiest minute as a share of the capacity, and how many exceed it that would not without preloads."""
    return f"{load[:-1].max() / capacity:.2f}", int((load[:-1] > np.maximum(capacity, calls[:-1])).sum())


def _clock(slot: int) -> str:
    hour, minute = divmod(CLOCK.opening_hour * 60 + slot * CLOCK.window_minutes, 60)
    return f"{hour:02}:{minute:02}"


if __name__ == "__main__":
    main()
