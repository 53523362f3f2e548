"""How fast simulated messages reach a broker on this machine, and what that costs.

    .venv/bin/python benchmarks/simulation.py --messages 10000000 --processes 2

Prints messages a second by the clock, broker included; CPU seconds per million messages of the simulation's processes
and of the embedded broker apart; and the largest memory of any one process of the simulation. `--to-files` writes
NDJSON into a folder that is removed afterwards instead, for days that would not fit the broker's memory.
"""

import argparse
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

import psutil

from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.topics import create_topic
from usage_analytics.simulation.run import UNLIMITED, Standing, simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import FolderTarget, KafkaTarget, Target

DAY = date(2026, 11, 20)
TOPIC = "simulated"


def main() -> None:
    """Run one simulation and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=0, help="default: one for each fifty messages")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--to-files", action="store_true")
    chosen = parser.parse_args()
    users = chosen.users or chosen.messages // 50
    scenario = Scenario((DAY,), messages_per_day=chosen.messages, users=users, lanes=chosen.partitions)
    if chosen.to_files:
        with tempfile.TemporaryDirectory() as folder:
            measure(scenario, FolderTarget(Path(folder)), chosen.processes, None)
        return
    with EmbeddedBroker.start() as broker:
        client = {"bootstrap.servers": broker.bootstrap_servers}
        create_topic(client, TOPIC, chosen.partitions)
        [process] = psutil.Process().children()
        measure(scenario, KafkaTarget(client, TOPIC), chosen.processes, process)


def measure(scenario: Scenario, target: Target, processes: int, broker: psutil.Process | None) -> None:
    """Simulate, and print a line of figures."""
    largest = 0

    def watch(standing: Standing) -> float:
        nonlocal largest
        children = [child for child in psutil.Process().children(recursive=True) if child != broker]
        largest = max([largest, *(child.memory_info().rss for child in children if child.is_running())])
        return UNLIMITED

    before = _cpu(broker)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as truth:
        totals = simulate(scenario, target, Path(truth), processes=processes, watch=watch)
    wall = time.monotonic() - started
    mine = sum(
        getattr(resource.getrusage(who), kind)
        for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
        for kind in ("ru_utime", "ru_stime")
    )
    millions = totals.messages / 1e6
    print(f"{totals.messages:,} messages of {totals.bytes / totals.messages:.0f} bytes, {processes} processes")
    print(f"{totals.messages / wall:,.0f} messages a second by the clock ({wall:.1f} s, start of processes included)")
    print(f"CPU seconds per million: simulation {mine / millions:.2f}, broker {(_cpu(broker) - before) / millions:.2f}")
    print(f"largest process of the simulation: {largest / 2**20:.0f} MiB")


def _cpu(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
