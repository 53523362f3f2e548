"""Kafka partitions that are added to a topic in use are landed like the others, with shares and without.

On Apache Kafka: the embedded broker can add none. `ingestion/test_shares.py` adds them in memory, at any moment.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from usage_analytics import parts
from usage_analytics.ingestion.topics import partitions_of
from usage_analytics.settings import PREFIX, Settings
from usage_analytics_tests.integration.apache_kafka import ApacheKafka
from usage_analytics_tests.integration.platform_under_test import (
    PARTITIONS,
    messages_landed,
    micro_batch,
    open_window,
)
from usage_analytics_tests.integration.test_micro_batch import on_apache

ADDED = 3


def add_partitions(settings: Settings, more: int) -> int:
    client = parts.kafka_client(settings)
    count, admin = partitions_of(client, settings.topic) + more, AdminClient(client)
    admin.create_partitions([NewPartitions(settings.topic, count)])[settings.topic].result(30)
    deadline = time.monotonic() + 30
    while partitions_of(client, settings.topic) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return count


@pytest.mark.apache_kafka
def test_added_kafka_partitions_are_picked_up(
    apache: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    produced = on_apache(monkeypatch, tmp_path, apache)
    settings, window = produced.settings, open_window(produced.settings)
    produced.send(400)
    assert messages_landed(micro_batch(settings, window)) == 400
    count = PARTITIONS
    for shares in (["0/1"], ["0/2", "1/2"]):
        monkeypatch.setenv(PREFIX + "SHARES", str(len(shares)))
        count, committed = add_partitions(settings, ADDED), parts.offset_log(settings).committed()
        produced.send(800, broken_of_each_kind=1)
        landed = [messages_landed(micro_batch(settings, window, share)) for share in shares]
        assert sum(landed) == 810 and all(landed)
        assert set(parts.offset_log(settings).committed()) - set(committed) == set(range(count - ADDED, count))
        produced.assert_came_through_once()
