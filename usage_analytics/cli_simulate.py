"""The command `usage-analytics simulate`."""

import os
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from usage_analytics.errors import UserError
from usage_analytics.settings import load_settings
from usage_analytics.simulation.scenario import EVENTS_PER_USER, NO_TROUBLE, Scenario, Trouble, trading_days
from usage_analytics.trading_calendar import FIRST_DAY, LAST_DAY

MOST_DAYS = 2_000
SLOWEST, FASTEST = 0.01, 1_000_000  # simulated seconds in a real one
LOOK_AROUND = timedelta(days=14)  # longer than any exchange stays closed


def simulate_command(
    day: Annotated[str, typer.Option(help="First trading day, such as 2026-11-20 (default: the latest ones).")] = "",
    days: Annotated[int, typer.Option(help="How many trading days, one after the other.")] = 1,
    messages: Annotated[int, typer.Option(help="Messages of an ordinary day; half days have fewer.")] = 1_000_000,
    users: Annotated[int, typer.Option(help="Users; 0: one for each fifty messages.")] = 0,
    exchange: Annotated[
        list[str] | None,
        typer.Option(help="Exchange whose hours firms keep; several for several (default: the platform's)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another world; the same seed, the same bytes.")] = 7,
    speed: Annotated[str, typer.Option(help="Simulated seconds in a real one, such as 1 or 60; or max.")] = "max",
    processes: Annotated[int, typer.Option(help="0: one for each core. The messages do not depend on it.")] = 0,
    partitions: Annotated[int, typer.Option(help="Kafka partitions, if the topic must be created; or files.")] = 4,
    to: Annotated[Path | None, typer.Option(help="Write NDJSON files into this folder, nothing to Kafka.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Folder of the truth (default: the world's own, in <home>/simulation).")
    ] = None,
    spread: Annotated[float, typer.Option(help="Log-standard-deviation of latency and cost over mini-apps.")] = 0.8,
    trouble: Annotated[
        list[str] | None, typer.Option(help="What goes wrong: 'none', or a rate such as late=0.01; several times.")
    ] = None,
    story_start: Annotated[
        str, typer.Option(help="Day from which adoption, churn and drift count (default: 28 days before the first).")
    ] = "",
    max_waiting: Annotated[
        int, typer.Option(help="Hold back while more wait in a Kafka partition (0: by what the topic keeps).")
    ] = 0,
    again: Annotated[bool, typer.Option("--again", help="Send days which this topic has already once more.")] = False,
) -> None:
    """Send the messages of a simulated trading desktop, and write down the truth that was planted in them.

    60 mini-apps in 8 families; firms, desks, and users of 8 personas who walk from mini-app to mini-app in the hours
    of real exchanges; news spikes, incidents, late, doubled and broken messages, scripted clients. docs/simulation.md
    shows the world and what the truth folder holds.

    Try: usage-analytics simulate --messages 100000 --to /tmp/my_desktop --truth /tmp/my_desktop/truth
    """
    from usage_analytics.reporting.simulation import print_planted, shown_progress
    from usage_analytics.simulation.into_kafka import into_kafka
    from usage_analytics.simulation.run import simulate
    from usage_analytics.simulation.targets import FolderTarget
    from usage_analytics.simulation.truth_folder import world_folder

    settings = load_settings()
    pace, most = _speed(speed), _at_least(0, "--max-waiting", max_waiting)
    workers = _at_least(0, "--processes", processes) or os.cpu_count() or 1
    exchanges = tuple(exchange or [settings.clock.exchange])
    scenario = Scenario(
        days=_days(exchanges, day, _at_least(1, "--days", days)),
        seed=seed,
        messages_per_day=_at_least(1, "--messages", messages),
        users=_at_least(0, "--users", users) or max(1, messages // EVENTS_PER_USER),
        exchanges=exchanges,
        lanes=_at_least(1, "--partitions", partitions),
        spread=spread,
        story_start=_date("--story-start", story_start) if story_start else None,
        trouble=_trouble(trouble or []),
    )
    if to is None:
        totals, folder = into_kafka(
            settings, scenario, truth, shown_progress, speed=pace, processes=workers, max_waiting=most, again=again
        )
    else:
        target, folder = FolderTarget(to), truth or world_folder(settings.home, scenario)
        target.refuse_other_lanes(scenario.lanes)
        with shown_progress(scenario) as watch:
            totals = simulate(scenario, target, folder, speed=pace, processes=workers, watch=watch)
    print_planted(totals, f"in {to}" if to else f"on Kafka, topic {settings.topic}", folder)


def _days(exchanges: tuple[str, ...], first: str, count: int) -> tuple[date, ...]:
    if count > MOST_DAYS:
        raise UserError(f"--days is at most {MOST_DAYS:,}, found {count:,}")
    around = count * timedelta(days=2) + LOOK_AROUND
    if not first:
        today = datetime.now(UTC).date()
        found = trading_days(exchanges, max(today - around, FIRST_DAY), today - timedelta(days=1))[-count:]
    else:
        day = _date("--day", first)
        found = trading_days(exchanges, day, min(day + around, LAST_DAY))[:count]
        if found[:1] != (day,):
            return (day, *found[1:])  # the scenario says what is wrong with the day
    if len(found) < count:
        raise UserError(
            f"--days: only {len(found)} trading days of {' or '.join(exchanges)} are known there, not {count}"
        )
    return found


def _trouble(settings: list[str]) -> Trouble:
    trouble = Trouble()
    kinds = {f.name: f.type for f in fields(Trouble)}
    for text in settings:
        name, _, value = text.partition("=")
        if text == "none":
            trouble = NO_TROUBLE
            continue
        if name not in kinds:
            raise UserError(f"--trouble: {name!r} is none of {', '.join(kinds)}")
        try:
            trouble = replace(trouble, **{name: _as(kinds[name], value)})
        except ValueError:
            raise UserError(f"--trouble: {name} is a number, such as {name}=1, found {value!r}") from None
    return trouble


def _as(kind: Any, value: str) -> Any:
    if kind is bool and value not in ("0", "1"):
        raise ValueError(value)
    return value == "1" if kind is bool else kind(value)


def _speed(text: str) -> float:
    try:
        speed = float("inf") if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not (SLOWEST <= speed <= FASTEST or speed == float("inf")):
        told = f"simulated seconds in a real one, from {SLOWEST:g} to {FASTEST:,}"
        raise UserError(f"--speed is max, or {told}, found {text!r}")
    return speed


def _at_least(least: int, option: str, number: int) -> int:
    if number < least:
        raise UserError(f"{option} is a number from {least} on, found {number}")
    return number


def _date(option: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} is a day such as 2026-11-20, found {text!r}") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise UserError(f"{option} is a day from {FIRST_DAY} to {LAST_DAY}, found {text!r}")
    return day
