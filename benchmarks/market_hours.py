"""The platform as it runs in market hours: how fresh events are, how far a burst puts it behind, memory and CPU.

    .venv/bin/python benchmarks/market_hours.py --minutes 10                          # freshness at a steady rate
    .venv/bin/python benchmarks/market_hours.py --minutes 15 --burst-from 3 --burst-minutes 10
    USAGE_ANALYTICS_MICRO_BATCH_THRESHOLD=10000 .venv/bin/python benchmarks/market_hours.py --minutes 10

Messages of a simulated day go to an embedded broker on the same machine, again and again, at a steady rate (by
default 1 billion in nine hours), in the burst five times as many. Dagster's daemon starts micro-batches by its sensor,
each in a process of its own, with the settings of the environment. Printed every 15 seconds: how many messages wait,
and the memory of the largest of Dagster's processes since. Then: seconds from arrival to being queryable, by window,
and the CPU of Dagster's processes together (looked at once a second). Needs the [dev] extra.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer
from full_days import full_days

from usage_analytics import parts
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.topics import create_topic
from usage_analytics.orchestration.instance import dagster_home
from usage_analytics.reporting.kafka_status import messages_waiting
from usage_analytics.settings import PREFIX, Settings, load_settings
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import FolderTarget
from usage_analytics.warehouse.freshness import freshness

BURST = 5
REPORT_S = 15
SAMPLE = 300_000  # messages that are sent again and again
LONGEST_DRAIN_S = 1_200.0
SPAWN = get_context("spawn")


@dataclass(frozen=True)
class Course:
    """Messages a second, and when, in seconds, there are five times as many."""

    rate: int
    seconds: float
    burst_from: float
    burst_until: float

    def due(self, now: float) -> float:
        """How many messages there should have been by now."""
        now = min(now, self.seconds)
        in_burst = max(0.0, min(now, self.burst_until) - self.burst_from)
        return self.rate * (now + (BURST - 1) * in_burst)


def main() -> None:
    """Send, watch, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=30_900, help="messages a second")
    parser.add_argument("--burst-from", type=float, default=0, help="the minute in which the burst begins")
    parser.add_argument("--burst-minutes", type=float, default=0, help="how long it lasts (default: there is none)")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--compression", default="lz4", help="zstd for a long run: the broker keeps all in memory")
    chosen = parser.parse_args()
    begins = chosen.burst_from * 60
    course = Course(chosen.rate, chosen.minutes * 60, begins, begins + chosen.burst_minutes * 60)
    with tempfile.TemporaryDirectory() as home:
        os.environ[PREFIX + "HOME"] = home
        os.environ["DAGSTER_HOME"] = str(dagster_home(Path(home)))
        os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)
        settings = load_settings()
        sample = sample_messages(settings, Path(home) / "sample")
        with EmbeddedBroker.start(settings.broker_directory), daemon(Path(home)) as watched:
            create_topic(parts.kafka_client(settings), settings.topic, chosen.partitions)
            stop = SPAWN.Event()
            sender = SPAWN.Process(
                target=send,
                args=(parts.kafka_client(settings), settings.topic, sample, course, chosen.compression, stop),
            )
            sender.start()
            try:
                watch(settings, course, watched)
            finally:
                stop.set()
                sender.join()
        print_freshness(settings)
        print(f"CPU of Dagster's processes: {watched.cpu_s:.0f} s; largest memory {watched.peak_mb:.0f} MB")


def sample_messages(settings: Settings, folder: Path) -> Path:
    """A file of messages of a simulated day, one a line."""
    [day] = full_days(settings, 1)
    scenario = Scenario((day,), messages_per_day=SAMPLE, users=SAMPLE // 50, lanes=1)
    simulate(scenario, FolderTarget(folder), None, processes=1)
    return next(folder.glob("*.ndjson"))


def send(client: dict[str, Any], topic: str, sample: Path, course: Course, compression: str, stop: Event) -> None:
    """Send messages on the course until it ends or we are told to stop."""
    messages = sample.read_bytes().splitlines()
    buffering = {"linger.ms": 50, "compression.type": compression, "queue.buffering.max.messages": 500_000}
    producer = Producer({**client, **buffering})
    started, sent = time.monotonic(), 0
    while not stop.is_set() and sent < course.due(course.seconds):
        due = course.due(time.monotonic() - started)
        while sent < due:
            try:
                producer.produce(topic, messages[sent % len(messages)])
            except BufferError:
                producer.poll(0.1)
                continue
            sent += 1
            if sent % 5_000 == 0:
                producer.poll(0)
        producer.poll(0.02)
    producer.flush(60)
    late = time.monotonic() - started - course.seconds
    print(f"{sent:,} messages were sent, the last {max(0.0, late):.0f} s later than it should have been", flush=True)


@dataclass
class Watched:
    """What Dagster's processes have used, looked at once a second."""

    process: psutil.Process
    peak_mb: float = 0.0
    _cpu_s: dict[int, float] = field(default_factory=dict)

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu_s.values())

    def look(self) -> float:
        """The memory of the largest process now, in MB."""
        largest = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                used, memory = process.cpu_times(), process.memory_info().rss / 2**20
            except psutil.Error:  # it has ended
                continue
            self._cpu_s[process.pid] = used.user + used.system
            largest = max(largest, memory)
        self.peak_mb = max(self.peak_mb, largest)
        return largest


@contextmanager
def daemon(home: Path) -> Any:
    """Dagster's daemon on the graph, as long as the context lasts."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "usage_analytics.definitions"]
    with (home / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        yield Watched(psutil.Process(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def watch(settings: Settings, course: Course, watched: Watched) -> None:
    """Print what waits until the course is over and all of it is drained."""
    started, last = time.monotonic(), -float(REPORT_S)
    largest, drained = 0.0, False
    while not drained:
        now = time.monotonic() - started
        largest = max(largest, watched.look())
        if now - last >= REPORT_S:
            waiting = messages_waiting(settings)
            print(f"{now:6.0f} s {waiting:12,} wait {largest:8.0f} MB", flush=True)
            last, largest = now, 0.0
            drained = now > course.seconds and waiting < settings.micro_batch_threshold
            if now > course.seconds + LONGEST_DRAIN_S:
                sys.exit(f"not drained; see the last lines of its log:\n{log_end(settings.home)}")
        time.sleep(1)


def log_end(home: Path) -> str:
    return "\n".join((home / "daemon.log").read_text().splitlines()[-20:])


def print_freshness(settings: Settings) -> None:
    """How long events had waited until they could be queried, by the window they were loaded in."""
    warehouse, log = parts.warehouse(settings), parts.offset_log(settings)
    for window in sorted({record.window for record in log.all()}):
        fresh = freshness(warehouse, settings.topic, window)
        if fresh is not None:
            print(f"window {window}: queryable after {fresh.median_s:.0f} s (p50), {fresh.p95_s:.0f} s (p95)")


if __name__ == "__main__":
    main()
