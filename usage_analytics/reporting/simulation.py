"""What a person sees of a simulation: its simulated time, its rate, what waits to be landed; and what was planted."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from usage_analytics.reporting.terminal import CONSOLE, print_table
from usage_analytics.simulation.backpressure import Backpressure
from usage_analytics.simulation.labels import Totals
from usage_analytics.simulation.market_day import market_day
from usage_analytics.simulation.run import UNLIMITED, Standing, Watch
from usage_analytics.simulation.scenario import Scenario


@contextmanager
def shown_progress(scenario: Scenario, pressure: Backpressure | None = None) -> Iterator[Watch]:
    """A progress bar, and the watch that moves it; with backpressure the watch holds the simulation back."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[rate]}"), console=CONSOLE) as bar:
        task = bar.add_task("simulating", total=expected_messages(scenario), rate="")

        def watch(standing: Standing) -> float:
            allowance = UNLIMITED if pressure is None else pressure.allowance(standing.sent)
            elapsed = bar.tasks[0].elapsed or 0
            rate = f"{standing.sent / elapsed:,.0f}/s" if elapsed > 1 else ""
            if pressure is not None:
                rate += f"  waiting {pressure.waiting:,}" + (" (holding back)" if pressure.holding else "")
            bar.update(task, completed=standing.sent, rate=rate, description=_clock(standing))
            return allowance

        yield watch
        bar.update(task, total=bar.tasks[0].completed)


def print_planted(totals: Totals, where: str, truth: Path) -> None:
    """Print what was sent, and how many messages have something planted, by kind."""
    rows = [(f"{kind} {detail}".strip(), count) for (kind, detail), count in sorted(totals.planted.items())]
    print_table("Planted", ("kind", "messages"), rows)
    CONSOLE.print(f"{totals.messages:,} messages of {totals.bytes / max(1, totals.messages):.0f} bytes are {where}")
    CONSOLE.print(f"The truth is in {truth}")


def expected_messages(scenario: Scenario) -> int:
    """About how many messages all days have."""
    days = [market_day(scenario, day) for day in scenario.days]
    mass = sum(float(exchange.starts.sum()) for day in days for exchange in day.exchanges)
    return int(scenario.messages_per_day * mass / len(scenario.exchanges))


def _clock(standing: Standing) -> str:
    simulated = datetime.fromtimestamp(standing.arrival_us / 1e6, UTC) if standing.arrival_us < 2**60 else None
    return f"{simulated:%Y-%m-%d %H:%M} UTC" if simulated else "finishing"
