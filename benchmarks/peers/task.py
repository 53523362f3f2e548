"""What every peer is asked to do: so many messages of a topic into a folder, as columns of usage events.

A peer does less than the platform: it keeps no raw copy, no dead letters, no pseudonyms, no offsets, joins no trading
day, and takes neither entity nor payload out of the properties. What it read, if it can tell, and what it wrote it says
in one line at its end.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEEDED = ("event_id", "event_time", "user", "mini_app")
TEXTS = ("event_id", "event_time", "user", "client_firm", "user_session", "mini_app", "action", "screen")
FETCHING = {  # what serves librdkafka best, and so the peers that are built on it
    "fetch.queue.backoff.ms": "10",
    "queued.max.messages.kbytes": "32768",
    "queued.min.messages": "50000",
}


@dataclass(frozen=True)
class Task:
    servers: str
    topic: str
    messages: int
    folder: Path


def asked() -> Task:
    """The task from the command line."""
    parser = argparse.ArgumentParser(description="One peer of benchmarks/ingestion.py --peers; the benchmark runs it.")
    parser.add_argument("servers", help="host:port of Kafka")
    parser.add_argument("topic")
    parser.add_argument("messages", type=int, help="stop after so many")
    parser.add_argument("folder", type=Path, help="where the files go")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    return Task(chosen.servers, chosen.topic, chosen.messages, chosen.folder)


def done(read: int | None, written: int) -> None:
    """Say how many messages were read (None: the peer does not tell), and how many were written as events."""
    print(json.dumps({"read": read, "written": written}), flush=True)


def until_all_is_there(written: Callable[[], int], messages: int) -> None:
    """Wait until so many events are written, or none more comes for a while (a peer may refuse some)."""
    before, since, patience_s = 0, time.monotonic(), 60.0  # to begin with
    while time.monotonic() - since < patience_s:
        now = written()
        if now >= messages:
            return
        if now != before:
            before, since, patience_s = now, time.monotonic(), 10.0
        time.sleep(2)


def event(value: bytes | None) -> dict[str, Any] | None:
    """A message as `json.loads` gives it; None where what every event needs is missing or of another type."""
    try:
        message = json.loads(value or b"")
        texts = (message[name] for name in NEEDED)
        latencies = (message.get("latency_ms"), message.get("timing", {}).get("latency_ms"))
        sound = all(isinstance(text, str) for text in texts) and not any(isinstance(found, str) for found in latencies)
        return message if sound else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
