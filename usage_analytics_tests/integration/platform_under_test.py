"""What tests of the whole chain share: messages, runs of the graph, the proof that each message came through once."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from itertools import islice
from pathlib import Path
from types import ModuleType

import dagster as dg
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from usage_analytics import parts
from usage_analytics.ingestion.chunk_file import read_chunk
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.ingestion.topics import ensure_topic
from usage_analytics.ingestion.verification import tiling_faults
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import QUIET
from usage_analytics.reconciliation.hop_counts import reconcile
from usage_analytics.settings import MOST, PREFIX, Settings, load_settings
from usage_analytics.simulation.lanes import Lane
from usage_analytics.simulation.recorded import send
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario
from usage_analytics_tests.integration.apache_kafka import ApacheKafka

PARTITIONS = 3
EVENT = {"event_id": "b-1", "event_time": "2026-03-02T15:00:00Z", "user": "u", "mini_app": "quotes"}
# One message of each kind that breaks the contract.
BROKEN: tuple[bytes | None, ...] = (
    None,
    b"",
    b"{not json",
    b"\xff\xfe\x00",
    b"[1, 2]",
    b"17",
    json.dumps({**EVENT, "user": None}).encode(),
    json.dumps({**EVENT, "mini_app": {"name": "quotes"}}).encode(),
    json.dumps({**EVENT, "event_time": "1999-01-01T00:00:00Z"}).encode(),
    json.dumps({**EVENT, "latency_ms": "soon"}).encode(),
)


@dataclass
class Produced:
    """The messages a test sent, and so what must come through."""

    settings: Settings
    day: date
    good: list[bytes] = field(default_factory=list)
    broken: list[bytes | None] = field(default_factory=list)
    batches: int = 0
    _last_good: list[tuple[bytes, bytes]] = field(default_factory=list)

    def send(self, count: int, broken_of_each_kind: int = 0) -> None:
        """So many new good messages, with broken ones strewn in."""
        self.batches += 1
        good = self._last_good = good_messages(self.day, count, seed=self.batches)
        broken = [
            (f"broken-{n}-{kind}".encode(), value)
            for n in range(broken_of_each_kind)
            for kind, value in enumerate(BROKEN)
        ]
        step = max(1, count // max(1, len(broken)))
        mixed: list[tuple[bytes, bytes | None]] = list(good)
        for number, message in enumerate(broken):
            mixed.insert(number * (step + 1), message)
        self._to_kafka(mixed)
        self.good += [value for _, value in good]
        self.broken += [value for _, value in broken]

    def send_again(self, count: int) -> None:
        """The first good messages of the last batch once more, as a producer that lost its connection would."""
        again = self._last_good[:count]
        self._to_kafka(again)
        self.good += [value for _, value in again]

    def _to_kafka(self, messages: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        client = parts.kafka_client(self.settings)
        ensure_topic(client, self.settings.topic, PARTITIONS)
        assert send(client, self.settings.topic, messages) == len(messages)  # type: ignore[arg-type]

    def assert_came_through_once(self) -> None:
        """Each message is in raw once, and once either in the warehouse or among the dead letters; all counts agree."""
        settings, layout = self.settings, parts.layout(self.settings)
        records = assert_offsets_tile(settings)
        assert Counter(raw_values(settings, records)) == Counter([*self.good, *self.broken])
        assert Counter(dead_letter_values(settings, records)) == Counter(self.broken)
        assert Counter(assert_landed_is_loaded(settings)) == Counter(json.loads(v)["event_id"] for v in self.good)
        chunk_files = {path.name for path in layout.offsets.parent.glob("window=*/*.parquet")}
        assert chunk_files == {record.file for record in records}


def assert_landed_is_loaded(settings: Settings) -> list[str]:
    """Counts agree at every hop, and each row is in the warehouse once; their event ids."""
    log, warehouse = parts.offset_log(settings), parts.warehouse(settings)
    assert reconcile(log, parts.layout(settings), warehouse).differences() == []
    query = "SELECT event_id, kafka_partition, kafka_offset FROM usage_events WHERE topic = :topic"
    loaded = warehouse.read(query, {"topic": settings.topic})
    assert loaded.select("kafka_partition", "kafka_offset").is_unique().all()
    return loaded["event_id"].to_list()


def good_messages(day: date, count: int, seed: int) -> list[tuple[bytes, bytes]]:
    """Key and value of the first so many messages of a simulated day without trouble."""
    users = 20 + count // 20
    scenario = Scenario((day,), seed=seed, messages_per_day=60 * users, users=users, lanes=1, trouble=NO_TROUBLE)
    messages = (piece for batch in Lane(scenario, 0).batches() for piece in batch.messages())
    pairs = ((key, value) for each in messages for key, value in zip(each.keys, each.values, strict=True))
    found = [(key, value) for key, value in islice(pairs, count) if value is not None]
    assert len(found) == count
    return found


def assert_offsets_tile(settings: Settings) -> list[ChunkRecord]:
    """The records, from Kafka's first offset to its last without gap or overlap."""
    records = list(parts.offset_log(settings).all())
    assert tiling_faults(records) == []
    with parts.kafka_source(settings) as source:
        marks = source.watermarks()
    for kafka_partition, mark in marks.items():
        mine = [record for record in records if record.kafka_partition == kafka_partition]
        assert (mine[0].start, mine[-1].end) == (mark.low, mark.high)
    return records


def consume_all(bootstrap_servers: str, topic: str, kafka_partitions: int) -> tuple[list[bytes], list[int]]:
    """What a plain consumer that honours transactions gets; by Kafka partition, the end that the fetch answers told."""
    config = {"bootstrap.servers": bootstrap_servers, "group.id": "truth", "enable.partition.eof": True}
    consumer = Consumer({**config, "isolation.level": "read_committed", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(kafka_partitions)])
    values: list[bytes] = []
    ends: dict[int, int] = {}
    deadline = time.monotonic() + 30
    while len(ends) < kafka_partitions:
        assert time.monotonic() < deadline, f"{len(values)} messages, ends {ends}"
        for message in consumer.consume(1_000, timeout=0.2):
            error = message.error()
            if error is None:
                values.append(message.value() or b"")
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ends[message.partition()] = message.offset()
    consumer.close()
    return values, [ends[number] for number in range(kafka_partitions)]


def raw_values(settings: Settings, records: list[ChunkRecord]) -> Iterator[bytes | None]:
    for record in records:
        path = parts.layout(settings).raw_chunk(record.window, record.file)
        for batch in read_chunk(path, record):
            yield from batch.column("value").to_pylist()


def dead_letter_values(settings: Settings, records: list[ChunkRecord]) -> Iterator[bytes | None]:
    for record in records:
        path = parts.layout(settings).dead_letters(record.window, record.name)
        if path.exists():
            yield from pq.read_table(path).column("value").to_pylist()


def open_window(settings: Settings) -> str:
    return settings.calendar.window_at(datetime.now(UTC)).key


def micro_batch(settings: Settings, window: str, share: str = "0/1") -> dg.ExecuteInProcessResult:
    """One run of the job into a window, of a share, recorded in the home folder's Dagster instance.

    Tests take the window once, at their start, so that a window's end meanwhile does not matter.
    """
    from usage_analytics.definitions import defs

    with open_instance(settings.home) as instance:
        job = defs.resolve_job_def("micro_batch")
        config = QUIET | {"resources": {"platform": {"config": {"share": share}}}}
        return job.execute_in_process(instance=instance, partition_key=window, run_config=config)


def messages_landed(result: dg.ExecuteInProcessResult) -> int:
    (event,) = result.asset_materializations_for_node("raw_messages")
    return int(str(event.metadata["messages_landed_now"].value))


def clean_environment(monkeypatch: pytest.MonkeyPatch, home: Path, **chosen: object) -> None:
    """Only these settings, whatever the shell of the tests has."""
    for name in list(os.environ):
        if name.startswith((PREFIX, "KAFKA_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv(PREFIX + "HOME", str(home))
    monkeypatch.setenv(PREFIX + "LONGEST_WAIT_S", str(MOST))  # runs start when a test says so
    for name, value in chosen.items():
        monkeypatch.setenv(PREFIX + name, str(value))


def freeze(monkeypatch: pytest.MonkeyPatch, now: datetime, *modules: ModuleType) -> None:
    """The modules' clock stands still."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return now.astimezone(tz)

    for module in modules:
        monkeypatch.setattr(module, "datetime", Clock)


@contextmanager
def embedded_platform(monkeypatch: pytest.MonkeyPatch, home: Path, **chosen: object) -> Iterator[Produced]:
    """A home folder with an embedded broker of its own, and settings in the environment."""
    clean_environment(monkeypatch, home, **chosen)
    settings = load_settings()
    with EmbeddedBroker.start(settings.broker_directory):
        yield Produced(settings, settings.calendar.latest_closed_day(datetime.now(UTC)))


def on_apache(monkeypatch: pytest.MonkeyPatch, home: Path, kafka: ApacheKafka, **chosen: object) -> Produced:
    """A topic of its own on Apache Kafka, and settings in the environment."""
    topic = f"usage-messages-{uuid.uuid4().hex[:8]}"
    clean_environment(monkeypatch, home, TOPIC=topic, PSEUDONYM_KEY="a key for tests only", **chosen)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    settings = load_settings()
    return Produced(settings, settings.calendar.latest_closed_day(datetime.now(UTC)))
