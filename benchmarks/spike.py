"""A burst of five times the usual rate: how far ingestion falls behind, how soon it has caught up, how much memory.

    .venv/bin/python benchmarks/spike.py --minutes 10              # at 1 billion messages in nine hours
    .venv/bin/python benchmarks/spike.py --minutes 1 --rate 5000

Messages go to an embedded broker on the same machine at the base rate for a third of the minutes, five times that for
the minutes, and at the base rate again until nothing more than a threshold waits. Meanwhile micro-batches run one after
the other, each in a process of its own as Dagster's are, whenever the threshold waits; they are looked for as often as
the sensor does. Not in it: Dagster itself (some 3 s a run). Printed: waiting messages by the time, the backlog
at the burst's end, seconds until it was drained, the largest peak of memory of a run, and how soon events were loaded.
"""

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from resource import RUSAGE_SELF, getrusage
from typing import Any

from confluent_kafka import Producer

from usage_analytics import parts
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.topics import create_topic
from usage_analytics.micro_batch import land_window
from usage_analytics.reporting.status import messages_waiting
from usage_analytics.settings import PREFIX, Settings, load_settings

SPIKE, EVERY_S = 5, 15.0
SPAWN = get_context("spawn")


def main() -> None:
    """Drive the burst and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=30_900)
    parser.add_argument("--partitions", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ[PREFIX + "HOME"] = home
        os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)
        settings = load_settings()
        with EmbeddedBroker.start(settings.broker_directory):
            client = parts.kafka_client(settings)
            create_topic(client, settings.topic, chosen.partitions)
            begins, ends, stop = chosen.minutes * 20, chosen.minutes * 80, SPAWN.Event()
            sender = SPAWN.Process(target=send, args=(client, settings.topic, chosen.rate, begins, ends, stop))
            sender.start()
            watch(settings, begins, ends, chosen.minutes * 60)
            stop.set()
            sender.join()


def watch(settings: Settings, begins: float, ends: float, patience: float) -> None:
    """Start micro-batches and print the backlog until it is drained, or ``patience`` seconds after the burst."""
    started, peak, backlog, queries = time.monotonic(), 0, None, []
    print(f"the burst lasts from second {begins:.0f} to {ends:.0f}; {settings.micro_batch_threshold:,} start a run")
    while True:
        looked, waiting = time.monotonic(), messages_waiting(settings)
        now = looked - started
        print(f"{now:6.0f} s {waiting:12,} wait", flush=True)
        if now >= ends:
            backlog = waiting if backlog is None else backlog
            if waiting < settings.micro_batch_threshold or now > ends + patience:
                break
        if waiting >= settings.micro_batch_threshold:
            with SPAWN.Pool(1) as pool:  # its exit is its memory's end, so that a run's peak is its own
                run = pool.apply(micro_batch)
            peak = max(peak, run["peak_mb"])
            queries.append((run["p50"], run["p95"]))
            print(f"         a run took {run['messages']:,} in {run['seconds']:.1f} s, {run['peak_mb']} MB", flush=True)
        else:
            time.sleep(max(0.0, looked + EVERY_S - time.monotonic()))
    drained = "drained" if waiting < settings.micro_batch_threshold else "NOT drained"
    print(f"backlog at the end of the burst {backlog:,}; {drained} {now - ends:.0f} s later; largest run {peak} MB")
    if queries:
        p50, p95 = queries[-1]
        print(f"seconds until events could be queried, in the last run's window: p50 {p50:.0f}, p95 {p95:.0f}")


def micro_batch() -> dict[str, Any]:
    """Land, enrich and load what waits, as one run does."""
    begun, settings, now = time.monotonic(), load_settings(), datetime.now(UTC)
    window, log, warehouse = settings.calendar.window_at(now), parts.offset_log(settings), parts.warehouse(settings)
    report = land_window(settings, window, now)
    records = log.of_window(window.key)
    parts.enricher(settings).enrich(records)
    warehouse.load_window(settings.topic, window.key, parts.enriched_reader(settings).chunks(records))
    fresh = warehouse.freshness(settings.topic, window.key)
    return {
        "messages": report.messages, "seconds": time.monotonic() - begun,
        "peak_mb": getrusage(RUSAGE_SELF).ru_maxrss // 1024,
        "p50": fresh.median_s if fresh else 0.0, "p95": fresh.p95_s if fresh else 0.0,
    }  # fmt: skip


def send(client: dict[str, Any], topic: str, rate: int, begins: float, ends: float, stop: Event) -> None:
    """Send messages at the rate, five times as many from one second to another, until told to stop."""
    producer = Producer({**client, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    started, sent, due, before = time.monotonic(), 0, 0.0, 0.0
    while not stop.is_set():
        now = time.monotonic() - started
        due += (now - before) * rate * (SPIKE if begins <= now < ends else 1)
        before, at = now, datetime.now(UTC).isoformat()
        while sent < due:
            event = {"event_id": str(sent), "event_time": at, "user": f"u{sent % 5_000}", "mini_app": f"app{sent % 37}"}
            try:
                producer.produce(topic, json.dumps(event).encode(), key=str(sent % 5_000))
            except BufferError:
                producer.poll(0.1)
                continue
            sent += 1
            if sent % 5_000 == 0:
                producer.poll(0)
        producer.poll(0.02)
    producer.flush(30)
    print(f"{sent:,} messages sent, the rates asked for {due:,.0f}")


if __name__ == "__main__":
    main()
