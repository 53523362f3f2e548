"""The simulated desktop on real brokers: the platform finds what the truth says, and no loss is silent."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from usage_analytics import parts
from usage_analytics.cli import main
from usage_analytics.errors import UserError
from usage_analytics.ingestion.planning import Watermarks
from usage_analytics.ingestion.topics import ensure_topic, partitions_of
from usage_analytics.reporting.simulation import shown_progress
from usage_analytics.settings import Settings, load_settings
from usage_analytics.simulation import backpressure
from usage_analytics.simulation.into_kafka import into_kafka
from usage_analytics.simulation.lanes import Batch, Lane
from usage_analytics.simulation.population import population
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import Scenario, Trouble
from usage_analytics.simulation.targets import FolderTarget
from usage_analytics.simulation.truth import write_world
from usage_analytics.simulation.truth_folder import owned, world_folder
from usage_analytics_tests.integration.apache_kafka import ApacheKafka
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    clean_environment,
    consume_all,
    embedded_platform,
    messages_landed,
    micro_batch,
    open_window,
)
from usage_analytics_tests.integration.test_micro_batch import on_apache

MINUTE_US = 60_000_000
ROUGH = Trouble(duplicates=0.02, late=0.02, out_of_order=0.02, malformed=0.02, bots=0.02)


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.apache_kafka)])
def produced(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Produced]:
    if request.param == "apache":
        yield on_apache(monkeypatch, tmp_path / "home", request.getfixturevalue("apache"))
    else:
        with embedded_platform(monkeypatch, tmp_path / "home") as started:
            yield started


def test_the_platform_finds_what_the_truth_says(produced: Produced, tmp_path: Path) -> None:
    """Counts by minute and mini-app, and each dead letter's offset and reason, are the planted ones."""
    settings, truth = produced.settings, tmp_path / "truth"
    scenario = Scenario((produced.day,), messages_per_day=30_000, users=600, lanes=3, trouble=ROUGH)
    sent, _ = into_kafka(settings, scenario, truth, shown_progress, processes=2)
    window = open_window(settings)
    assert messages_landed(micro_batch(settings, window)) == sent.messages
    place = truth / f"day={produced.day}"

    events = parts.warehouse(settings).read(
        f"SELECT event_time_us // {MINUTE_US} * {MINUTE_US} AS minute_us, mini_app, count(*) AS messages "
        "FROM usage_events GROUP BY ALL ORDER BY ALL"
    )
    planted = pl.read_parquet(place / "minutes-*.parquet").group_by("minute_us", "mini_app").agg(pl.sum("messages"))
    assert events.rows() == planted.sort("minute_us", "mini_app").rows()

    letters = pl.read_parquet(settings.lake / "dead_letters" / settings.topic / "*" / "*.parquet")
    labels = pl.read_parquet(place / "labels-*.parquet").filter(pl.col("kind") == "malformed")
    found = letters.select("kafka_partition", "kafka_offset", "reason").sort("kafka_partition", "kafka_offset")
    assert found.rows() == labels.select("lane", "position", "detail").sort("lane", "position").rows()


def test_lanes_follow_the_partitions_that_a_topic_has(produced: Produced, tmp_path: Path) -> None:
    client = parts.kafka_client(produced.settings)
    admin = AdminClient(client)
    admin.create_topics([NewTopic(produced.settings.topic, 5, 1)])[produced.settings.topic].result(30)
    scenario = Scenario((produced.day,), messages_per_day=3_000, users=60, lanes=2)
    into_kafka(produced.settings, scenario, tmp_path / "truth", shown_progress)
    assert len(marks(produced.settings)) == 5
    assert all(mark.high for mark in marks(produced.settings).values())


def test_a_day_is_not_sent_twice_unless_asked_for(produced: Produced) -> None:
    settings, chosen = produced.settings, Scenario((produced.day,), messages_per_day=1_000, users=20, lanes=1)
    sent, truth = into_kafka(settings, chosen, None, shown_progress)
    assert truth == world_folder(settings.home, chosen)
    told = f"{produced.day} of this world was sent to topic '{settings.topic}' .* already .*; --again sends all of it"
    with pytest.raises(UserError, match=told):
        into_kafka(settings, chosen, None, shown_progress)
    assert marks(settings)[0].high == sent.messages
    into_kafka(settings, chosen, None, shown_progress, again=True)
    assert marks(settings)[0].high == 2 * sent.messages


def test_what_landing_would_refuse_is_refused_before_it_is_sent(produced: Produced) -> None:
    """A topic that was deleted while the lake holds its messages, and one that was created again."""
    settings, chosen = produced.settings, Scenario((produced.day,), messages_per_day=1_000, users=20, lanes=1)
    produced.send(5)
    assert messages_landed(micro_batch(settings, open_window(settings))) == 5
    client = parts.kafka_client(settings)
    admin = AdminClient(client)
    admin.delete_topics([settings.topic])[settings.topic].result(30)
    deadline = time.monotonic() + 30
    while partitions_of(client, settings.topic):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(UserError, match=r"is not on Kafka at .*, but the lake in .* holds messages of it"):
        into_kafka(settings, chosen, None, shown_progress)
    assert not partitions_of(client, settings.topic)
    ensure_topic(client, settings.topic, 1)
    with pytest.raises(UserError, match=r"was deleted and created again|the topic was created again"):
        into_kafka(settings, chosen, None, shown_progress)
    assert marks(settings)[0].high == 0


def test_another_worlds_truth_is_refused_before_a_topic_is_created(produced: Produced, tmp_path: Path) -> None:
    settings, chosen = produced.settings, Scenario((produced.day,), messages_per_day=1_000, users=20, lanes=1)
    with owned(tmp_path / "truth", chosen):
        write_world(tmp_path / "truth", population(chosen))
    with pytest.raises(UserError, match=r"holds the truth of another world .seed 7, now 8.; choose another --truth"):
        into_kafka(settings, replace(chosen, seed=8), tmp_path / "truth", shown_progress)
    assert not partitions_of(parts.kafka_client(settings), settings.topic)


def test_files_of_a_simulation_are_produced_message_by_message(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tombstones, and messages that are not UTF-8, among them."""
    rough = Scenario((produced.day,), messages_per_day=3_000, users=60, lanes=2, trouble=Trouble(malformed=0.1))
    sent = simulate(rough, FolderTarget(tmp_path), tmp_path / "truth")
    for lane in range(2):
        file = str(FolderTarget(tmp_path).path(lane))
        monkeypatch.setattr(sys, "argv", ["usage-analytics", "produce", file, "--mapping", "usage_event"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    servers = parts.kafka_client(produced.settings)["bootstrap.servers"]
    found, _ = consume_all(servers, produced.settings.topic, 4)
    simulated = [value or b"" for lane in range(2) for b in Lane(rough, lane).batches() for value in values(b)]
    assert len(found) == sent.messages
    assert sorted(found) == sorted(simulated)
    assert b"" in found


def values(batch: Batch) -> list[bytes | None]:
    return [value for messages in batch.messages() for value in messages.values]


def marks(settings: Settings) -> dict[int, Watermarks]:
    with parts.kafka_source(settings) as source:
        return source.watermarks()


@pytest.fixture
def forgetful(apache: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A topic that keeps little more than a megabyte of each partition, and nobody who lands from it."""
    topic = f"forgetful-{uuid.uuid4().hex[:8]}"
    clean_environment(monkeypatch, tmp_path / "home", TOPIC=topic, PSEUDONYM_KEY="a key for tests only")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", apache.bootstrap_servers)
    keeps = {"retention.bytes": "1100000", "segment.bytes": "1048576"}
    admin = AdminClient({"bootstrap.servers": apache.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 2, 1, config=keeps)])[topic].result(30)
    return load_settings()


def crowded(settings: Settings) -> Scenario:
    day = settings.calendar.latest_closed_day(datetime.now(UTC))
    return Scenario((day,), messages_per_day=150_000, users=3_000, lanes=2)


@pytest.mark.apache_kafka
def test_it_is_held_back_before_kafka_deletes_anything(
    forgetful: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "PATIENCE_S", 2.0)
    with pytest.raises(UserError, match="no more are sent lest Kafka delete them, and nothing was landed"):
        into_kafka(forgetful, crowded(forgetful), tmp_path / "truth", shown_progress)
    assert all(mark.low == 0 < mark.high for mark in marks(forgetful).values())


@pytest.mark.apache_kafka
def test_what_kafka_deleted_is_told(forgetful: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Kafka deleted simulated messages 0 to \d+ before they were landed"):
        into_kafka(forgetful, crowded(forgetful), tmp_path / "truth", shown_progress, speed=5_000, max_waiting=10**9)
