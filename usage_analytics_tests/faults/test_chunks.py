"""Files of the lake are damaged or deleted: materializing their window makes them good, as long as Kafka has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from fakes import flip

from usage_analytics import parts
from usage_analytics.cli_losses import accept_loss_command
from usage_analytics.orchestration import micro_batch_assets
from usage_analytics.trading_calendar import Window
from usage_analytics_tests.faults.failing_runs import sentence_of_failure
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    freeze,
    messages_landed,
    micro_batch,
    open_window,
)

pytestmark = [pytest.mark.faults, pytest.mark.slow]
DAMAGES: list[Callable[[Path], object]] = [
    lambda path: path.unlink(),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:-20]),
    lambda path: path.write_bytes(b"PAR1 not a chunk PAR1"),
    lambda path: flip(path, path.stat().st_size // 2),
]


def landed_then(produced: Produced, monkeypatch: pytest.MonkeyPatch) -> Window:
    """An older window, with messages that were landed as if it had been open then."""
    older = produced.settings.calendar.windows_of(produced.day)[3]
    produced.send(2_000, broken_of_each_kind=3)
    with monkeypatch.context() as then:
        freeze(then, older.start, micro_batch_assets)
        assert messages_landed(micro_batch(produced.settings, older.key)) == 2_030
    return older


def files(produced: Produced, window: Window, *kinds: str) -> dict[Path, bytes]:
    root = parts.layout(produced.settings).root
    found = [path for kind in kinds for path in sorted(root.glob(f"{kind}/*/window={window.key}/*.parquet"))]
    return {path: path.read_bytes() for path in found}


def test_damaged_files_of_an_older_window_are_made_again(produced: Produced, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, older = produced.settings, landed_then(produced, monkeypatch)
    records = list(parts.offset_log(settings).all())
    raw, made = files(produced, older, "raw"), files(produced, older, "usage_events", "dead_letters")
    assert len(raw) >= 6 and len(made) > len(raw)
    for number, path in enumerate([*raw, *made]):
        DAMAGES[number % len(DAMAGES)](path)
    produced.send(500, broken_of_each_kind=1)
    newest = open_window(settings)
    assert messages_landed(micro_batch(settings, newest)) == 510, "damage of before keeps nobody waiting"

    healed = micro_batch(settings, older.key)
    repaired = {
        step: event.metadata["chunks_repaired"].value
        for step in ("raw_messages", "usage_events")
        for event in healed.asset_materializations_for_node(step)
    }
    assert repaired["raw_messages"] == len(raw) and messages_landed(healed) == 0
    assert [record for record in parts.offset_log(settings).all() if record.window == older.key] == records
    assert files(produced, older, "usage_events", "dead_letters") == made, "the same bytes from the same messages"
    produced.assert_came_through_once()


@pytest.mark.apache_kafka
@pytest.mark.parametrize("platform", ["apache"], indirect=True)
def test_a_chunk_that_kafka_deleted_is_named_and_its_record_kept(
    produced: Produced, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, older = produced.settings, landed_then(produced, monkeypatch)
    records = list(parts.offset_log(settings).all())
    damaged = records[1]
    path = parts.layout(settings).raw_chunk(damaged.window, damaged.file)
    copy = path.read_bytes()
    path.unlink()
    delete_before(produced, damaged.kafka_partition, damaged.end - 1)
    told = sentence_of_failure(settings, older.key)
    place = f"topic '{settings.topic}', Kafka partition {damaged.kafka_partition}, offsets {damaged.start} to"
    assert f"it cannot be repaired, Kafka holds {damaged.end - 1} to " in told and place in told
    assert list(parts.offset_log(settings).all()) == records

    path.write_bytes(copy)  # from a copy of the lake
    assert micro_batch(settings, older.key).success
    produced.send(500)
    assert messages_landed(micro_batch(settings, open_window(settings))) == 500
    assert sum(record.rows for record in parts.offset_log(settings).all()) == 2_530


@pytest.mark.apache_kafka
@pytest.mark.parametrize("platform", ["apache"], indirect=True)
def test_messages_that_kafka_deleted_before_they_were_landed_are_named_and_their_loss_accepted(
    produced: Produced,
) -> None:
    settings, window = produced.settings, open_window(produced.settings)
    produced.send(600)
    assert messages_landed(micro_batch(settings, window)) == 600
    start = parts.offset_log(settings).committed()[1]
    end = start + 7
    produced.send(600)
    delete_before(produced, 1, end)
    told = sentence_of_failure(settings, window)
    assert told == (
        f"topic '{settings.topic}', Kafka partition 1: Kafka deleted offsets {start} to {end} before they were landed; "
        "nothing was skipped (to go on without them: usage-analytics accept-loss --kafka-partition 1 "
        f"--from {start} --to {end})"
    )
    assert parts.offset_log(settings).committed()[1] == start

    accept_loss_command(kafka_partition=1, start=start, end=end, yes=True)
    assert micro_batch(settings, window).success
    assert sum(record.rows for record in parts.offset_log(settings).all()) == 1_200 - 7
    query = "SELECT kafka_offset FROM usage_events WHERE kafka_partition = 1"
    loaded = set(parts.warehouse(settings).read(query)["kafka_offset"])
    assert loaded == set(range(parts.offset_log(settings).committed()[1])) - set(range(start, end))


def delete_before(produced: Produced, kafka_partition: int, offset: int) -> None:
    """As retention does when it overtakes us."""
    admin = AdminClient(parts.kafka_client(produced.settings))
    where = TopicPartition(produced.settings.topic, kafka_partition, offset)
    admin.delete_records([where])[where].result(30)
