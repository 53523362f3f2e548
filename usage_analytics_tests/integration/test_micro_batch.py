"""The graph in this process, on both brokers: counts agree at every hop, and nothing is landed twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from closing import stale_days
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from usage_analytics import parts
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.micro_batch import land_window
from usage_analytics.orchestration import micro_batch_assets
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import close_trading_day
from usage_analytics.reporting.kafka_status import messages_waiting
from usage_analytics.settings import Settings
from usage_analytics_tests.integration.apache_kafka import ApacheKafka
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    assert_offsets_tile,
    consume_all,
    embedded_platform,
    freeze,
    messages_landed,
    micro_batch,
    on_apache,
    open_window,
    raw_values,
)

BROKEN_KINDS = 10


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.apache_kafka)])
def produced(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Produced]:
    chosen = {"CHUNK_MESSAGES": 4_000, "BATCH_MESSAGES": 1_500}
    if request.param == "apache":
        yield on_apache(monkeypatch, tmp_path, request.getfixturevalue("apache"), **chosen)
    else:
        with embedded_platform(monkeypatch, tmp_path, **chosen) as started:
            yield started


def test_day_from_kafka_to_the_plan(produced: Produced) -> None:
    settings, window = produced.settings, open_window(produced.settings)
    produced.send(20_000, broken_of_each_kind=3)
    result = micro_batch(settings, window)
    assert messages_landed(result) == 20_000 + 3 * BROKEN_KINDS
    assert {e.check_name: e.passed for e in result.get_asset_check_evaluations()} == {
        "offsets_tile": True, "counts_reconcile": True, "few_dead_letters": True,
        "nothing_deleted_unread": True,
    }  # fmt: skip
    produced.assert_came_through_once()

    before = list(parts.offset_log(settings).all())
    assert max(record.rows for record in before) < 4_000 + 1_500  # a chunk ends with the batch that fills it
    assert len(before) > 3, "several chunks per Kafka partition are wanted here"
    assert messages_landed(micro_batch(settings, window)) == 0
    assert list(parts.offset_log(settings).all()) == before
    produced.assert_came_through_once()

    produced.send(1_000, broken_of_each_kind=2)
    again = micro_batch(settings, window)
    assert messages_landed(again) == 1_000 + 2 * BROKEN_KINDS
    (enriched,) = again.asset_materializations_for_node("usage_events")
    assert enriched.metadata["chunks_read_again"].value == 0, "all were enriched while they landed"
    produced.assert_came_through_once()

    produced.send_again(200)
    assert messages_landed(micro_batch(settings, window)) == 200
    produced.assert_came_through_once()

    warehouse = parts.warehouse(settings)
    assert stale_days(warehouse) == [produced.day]
    with open_instance(settings.home) as instance:
        close_trading_day(produced.day, instance)
        made = instance.get_latest_materialization_event(dg.AssetKey("user_sessions"))
    assert stale_days(warehouse) == []
    metadata = made.asset_materialization.metadata  # type: ignore[union-attr]
    assert (metadata["duplicates_dropped"].value, metadata["latencies_left_out"].value) == (200, 0)
    sessions = warehouse.read("SELECT sum(events)::BIGINT AS events, count(*) AS n FROM user_sessions").row(0)
    assert sessions[0] == len(produced.good) - 200 and sessions[1] > 100
    plan = warehouse.read("SELECT DISTINCT trading_day FROM preload_plan WHERE mini_app IS NOT NULL")
    assert plan["trading_day"].to_list() == [produced.day]
    answering = parts.plan_folder(settings).current()
    assert answering.tables.facts.trading_day == produced.day
    assert answering.next(None, ()).transitions > 0


def test_backlog_is_taken_in_bounded_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"MAX_MESSAGES_PER_RUN": 1_000, "CHUNK_MESSAGES": 300, "BATCH_MESSAGES": 100}
    with embedded_platform(monkeypatch, tmp_path, **limits) as produced:
        window = open_window(produced.settings)
        produced.send(2_490, broken_of_each_kind=1)
        assert [messages_landed(micro_batch(produced.settings, window)) for _ in range(3)] == [1_000, 1_000, 500]
        produced.assert_came_through_once()
        # A chunk is cut after the batch that fills it.
        assert 300 <= max(record.rows for record in parts.offset_log(produced.settings).all()) < 400


def test_a_recreated_topic_is_named_and_nothing_of_it_landed(produced: Produced) -> None:
    settings = produced.settings
    produced.send(50)
    window = open_window(settings)
    assert messages_landed(micro_batch(settings, window)) == 50
    client = parts.kafka_client(settings)
    delete_topic(client, settings.topic)
    produced.send(500)  # longer than what was landed: offsets alone would not tell
    with pytest.raises(dg.Failure, match="deleted and created again"):
        micro_batch(settings, window)
    assert sum(record.rows for record in parts.offset_log(settings).all()) == 50


def delete_topic(client: dict[str, Any], topic: str) -> None:
    admin = AdminClient({**client, "allow.auto.create.topics": False})
    admin.delete_topics([topic])[topic].result(30)
    deadline = time.monotonic() + 30
    while topic in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_damaged_chunk_of_an_older_window_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_platform(monkeypatch, tmp_path) as produced:
        settings = produced.settings
        older = settings.calendar.windows_of(produced.day)[3]
        produced.send(900, broken_of_each_kind=1)
        # Landed as if that window had been open then.
        with monkeypatch.context() as then:
            freeze(then, older.start, micro_batch_assets)
            assert messages_landed(micro_batch(settings, older.key)) == 910
        records = list(parts.offset_log(settings).all())
        paths = [parts.layout(settings).raw_chunk(record.window, record.file) for record in records]
        content = [path.read_bytes() for path in paths]
        paths[0].unlink()
        paths[1].write_bytes(content[1][: len(content[1]) // 2])
        produced.send(100)
        result = micro_batch(settings, older.key)
        (event,) = result.asset_materializations_for_node("raw_messages")
        assert event.metadata["chunks_repaired"].value == 2
        assert messages_landed(result) == 0, "an older window takes no new messages"
        assert micro_batch(settings, open_window(settings)).success
        produced.assert_came_through_once()


@pytest.mark.apache_kafka
def test_aborted_open_and_compacted_offsets(
    apache: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"MAX_MESSAGES_PER_RUN": 701, "CHUNK_MESSAGES": 250, "BATCH_MESSAGES": 90}
    produced = on_apache(monkeypatch, tmp_path, apache, **limits)
    settings, topic, servers = produced.settings, produced.settings.topic, apache.bootstrap_servers
    compact_topic(servers, topic)
    leave_compaction_gaps(servers, topic)
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic, "linger.ms": 5})
    producer.init_transactions(30)
    for name, commits in (("kept", True), ("aborted", False), ("also-kept", True), ("aborted-too", False)):
        producer.begin_transaction()
        produce_events(producer, topic, name, 400)
        producer.flush(30)
        if commits:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    producer.begin_transaction()
    produce_events(producer, topic, "open", 50)
    producer.flush(30)

    land_all(settings)
    landed, _ = consume_all(servers, topic, 2)
    assert sum(b'"open-' in value for value in landed) == 0
    assert_landed(produced, landed)

    producer.commit_transaction(30)
    land_all(settings)
    landed, _ = consume_all(servers, topic, 2)
    assert sum(b'"open-' in value for value in landed) == 50
    assert sum(b'"kept-' in value or b'"also-kept-' in value for value in landed) == 800
    records = assert_landed(produced, landed)
    ends = {record.kafka_partition: record.end for record in records}
    assert sum(ends.values()) > len(landed) + 800, "aborted and compacted offsets were wanted here"


def compact_topic(servers: str, topic: str) -> None:
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, 2, 1, config=config)])[topic].result(30)
    time.sleep(0.5)


def leave_compaction_gaps(servers: str, topic: str) -> None:
    """Later messages of a key replace the earlier ones; then compaction is switched off."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
    for turn in range(3):
        produce_events(producer, topic, f"turn-{turn}", 500, keys=60)
        producer.flush(30)
        time.sleep(0.3)  # the next message opens a new segment; the closed ones can be compacted
    produce_events(producer, topic, "last", 20)
    producer.flush(30)
    deadline = time.monotonic() + 60
    while len(consume_all(servers, topic, 2)[0]) > 700:
        assert time.monotonic() < deadline, "Kafka did not compact the topic"
        time.sleep(0.3)
    no_cleaning = [
        ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET),
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=no_cleaning)
    admin = AdminClient({"bootstrap.servers": servers})  # kept: the answer is lost with it
    admin.incremental_alter_configs([resource])[resource].result(30)
    time.sleep(1.5)  # a cleaning in progress ends


def produce_events(producer: Producer, topic: str, name: str, count: int, keys: int = 10**9) -> None:
    for n in range(count):
        value = f'{{"event_id":"{name}-{n}","event_time":"2026-03-02T15:00:00Z","user":"u{n}","mini_app":"quotes"}}'
        key = f"key-{n % keys}" if keys < 10**9 else f"{name}-{n}"
        producer.produce(topic, value.encode(), key.encode(), partition=n % 2)


def land_all(settings: Settings) -> None:
    window = open_window(settings)
    for _ in range(12):
        assert micro_batch(settings, window).success
        if not messages_waiting(settings):
            return
    raise AssertionError("twelve runs did not take what waited")


def assert_landed(produced: Produced, values: list[bytes]) -> list[ChunkRecord]:
    records = assert_offsets_tile(produced.settings)
    assert sorted(v or b"" for v in raw_values(produced.settings, records)) == sorted(values)
    loaded = parts.warehouse(produced.settings).read(
        "SELECT count(*) AS n, count(DISTINCT event_id) AS d FROM usage_events"
    )
    assert loaded.row(0) == (len(values), len(values))
    return records


def test_two_runs_at_once_land_each_message_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's pools keep runs apart; the lake must not depend on them."""
    with embedded_platform(monkeypatch, tmp_path, CHUNK_MESSAGES=200, BATCH_MESSAGES=100) as produced:
        settings = produced.settings
        produced.send(3_000, broken_of_each_kind=1)
        now = datetime.now(UTC)
        window = settings.calendar.window_at(now)
        barrier, failures = threading.Barrier(3), []

        def race() -> None:
            try:
                barrier.wait()
                land_window(settings, window, now)
            except Exception as error:
                failures.append(error)

        racers = [threading.Thread(target=race) for _ in range(3)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert failures == []
        assert micro_batch(settings, window.key).success
        produced.assert_came_through_once()
