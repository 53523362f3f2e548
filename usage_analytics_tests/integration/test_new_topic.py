"""A topic that was created a moment ago answers: a cluster tells its leaders before they know that they lead."""

from __future__ import annotations

import uuid

import pytest

from usage_analytics.ingestion.kafka_source import KafkaSource
from usage_analytics.ingestion.planning import Watermarks
from usage_analytics.ingestion.topics import create_topic
from usage_analytics_tests.integration.apache_kafka import ApacheKafka


@pytest.mark.apache_kafka
def test_watermarks_of_a_new_topic_are_waited_for(apache: ApacheKafka) -> None:
    client = {"bootstrap.servers": apache.bootstrap_servers}
    for _ in range(20):
        topic = f"new-{uuid.uuid4().hex[:8]}"
        create_topic(client, topic, 8)
        with KafkaSource(client, topic, timeout_s=10) as source:
            assert source.watermarks() == {number: Watermarks(0, 0) for number in range(8)}
