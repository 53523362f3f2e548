"""What each hop from Kafka to the warehouse costs per million messages: CPU, wall time, memory.

    .venv/bin/python benchmarks/ingestion.py --messages 5000000

A simulated trading desktop sends its messages to an embedded broker on the same machine; then each hop goes over all of
them, in a process of its own, so that its peak of memory is its own (some 200 MB of it are libraries):

  consume   messages out of Kafka as Arrow columns, dropped
  land      the same, into raw chunks on disk, committed
  enrich    raw chunks to usage events and dead letters on disk, as after a changed mapping
  ingest    land, and enrich on the way, as a micro-batch does
  load      usage events into DuckDB
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from multiprocessing import get_context
from resource import RUSAGE_SELF, getrusage

from usage_analytics import parts
from usage_analytics.ingestion.chunk_landing import Worker
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.landing import land
from usage_analytics.ingestion.topics import create_topic
from usage_analytics.micro_batch import land_window
from usage_analytics.settings import PREFIX, load_settings
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import KafkaTarget


def main() -> None:
    """Send the messages, run the hops, print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5_000_000)
    parser.add_argument("--partitions", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {PREFIX + "HOME": home, PREFIX + "MAX_MESSAGES_PER_RUN": str(10**9)}
        os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)  # the hops read from the broker that is started here
        settings = load_settings()
        day = settings.calendar.latest_closed_day(datetime.now(UTC))
        users = max(1, chosen.messages // 50)
        scenario = Scenario((day,), messages_per_day=chosen.messages, users=users, lanes=chosen.partitions)
        with EmbeddedBroker.start(settings.broker_directory) as broker:
            client = {"bootstrap.servers": broker.bootstrap_servers}
            create_topic(client, settings.topic, chosen.partitions)
            sent = simulate(scenario, KafkaTarget(client, settings.topic), None, processes=2)
            each = sent.bytes / sent.messages
            print(f"{sent.messages:,} messages of {each:.0f} bytes, {chosen.partitions} Kafka partitions\n")
            print(f"{'hop':<8}{'CPU s/million':>15}{'wall s/million':>16}{'messages/s':>13}{'peak MB':>9}")
            for hop in (consume, land_all, enrich, load, ingest):
                report(hop, sent.messages)


def report(hop: Callable[[], int], messages: int) -> None:
    """Run a hop in a process of its own, and print its line."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        done, cpu, wall, peak = pool.submit(measured, hop).result()
    assert done == messages, f"{hop.__name__}: {done:,} of {messages:,} messages"
    name = hop.__name__.removesuffix("_all")
    print(f"{name:<8}{cpu / done * 1e6:>15.2f}{wall / done * 1e6:>16.2f}{done / wall:>13,.0f}{peak:>9.0f}", flush=True)


def measured(hop: Callable[[], int]) -> tuple[int, float, float, float]:
    """Messages, CPU seconds, wall seconds, and peak memory in MB of a hop."""
    cpu, wall = time.process_time(), time.monotonic()
    done = hop()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return done, cpu, wall, getrusage(RUSAGE_SELF).ru_maxrss / 1024


def consume() -> int:
    settings = load_settings()
    with parts.kafka_source(settings) as source:
        ranges = {partition: (marks.low, marks.high) for partition, marks in source.watermarks().items()}
        batches = (source.read(partition, *ends, settings.batch_messages) for partition, ends in ranges.items())
        return sum(batch.num_rows for each in batches for batch in each)


def land_all() -> int:
    settings = load_settings()
    with parts.kafka_source(settings) as source:
        now = datetime.now(UTC)
        window = settings.calendar.window_at(now)
        log, layout = parts.offset_log(settings), parts.layout(settings)
        return land(lambda: nullcontext(Worker(source)), log, layout, window, parts.limits(settings), now).messages


def enrich() -> int:
    settings = load_settings()
    report = parts.enricher(settings).enrich(parts.offset_log(settings).all())
    return report.rows + report.dead_letters


def load() -> int:
    settings = load_settings()
    records = list(parts.offset_log(settings).all())
    chunks = parts.enricher(settings).enrich(records).chunks
    parts.warehouse(settings).load_window(settings.topic, records[0].window, chunks)
    return sum(chunk.rows + chunk.dead_letters for chunk in chunks)


def ingest() -> int:
    settings = load_settings()
    settings.lake.rename(settings.home / "lake of the hops before")  # so that all messages wait once more
    now = datetime.now(UTC)
    return land_window(settings, settings.calendar.window_at(now), now).messages


if __name__ == "__main__":
    main()
