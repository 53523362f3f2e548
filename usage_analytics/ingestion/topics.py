"""Creates the Kafka topic of the usage messages where there is none."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from usage_analytics.errors import UserError
from usage_analytics.ingestion.client_settings import told_settings
from usage_analytics.ingestion.connection import Heard, metadata

METADATA_TIMEOUT_S = 10.0
CREATION_DEADLINE_S = 30.0


def ensure_topic(client: dict[str, Any], topic: str, partitions: int) -> None:
    """Create the topic unless it is there, with however many Kafka partitions; unreachable Kafka is a `UserError`."""
    if not partitions_of(client, topic):
        create_topic(client, topic, partitions)


def partitions_of(client: dict[str, Any], topic: str) -> int:
    """How many Kafka partitions the topic has, 0 if there is none; unreachable Kafka is a `UserError`."""
    heard = Heard(client)
    with told_settings(client):
        admin = AdminClient({**client, "log_level": 0, "allow.auto.create.topics": False, "error_cb": heard})
    found = metadata(admin, heard, client["bootstrap.servers"], METADATA_TIMEOUT_S).topics.get(topic)
    return 0 if found is None or found.error is not None else len(found.partitions)


def create_topic(bootstrap_config: Mapping[str, Any], topic: str, partitions: int) -> None:
    """The topic exists with that many partitions, each with a leader. UserError: it has another number."""
    admin = AdminClient({**bootstrap_config, "log_level": 0, "allow.auto.create.topics": False})
    try:
        # -1: the cluster's own default replication factor
        admin.create_topics([NewTopic(topic, partitions, -1)])[topic].result(CREATION_DEADLINE_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise UserError(f"Topic {topic} could not be created: {error.args[0].str()}") from error
    deadline = time.monotonic() + CREATION_DEADLINE_S
    while time.monotonic() < deadline:
        # Apache Kafka acknowledges the topic before every broker knows of it.
        found = admin.list_topics(topic, timeout=CREATION_DEADLINE_S).topics[topic]
        if found.error is None and all(p.leader >= 0 for p in found.partitions.values()):
            if len(found.partitions) != partitions:
                raise UserError(f"Topic {topic} exists with {len(found.partitions)} partitions, not {partitions}.")
            return
        time.sleep(0.05)
    raise UserError(f"Topic {topic} was created, but has no leader after {CREATION_DEADLINE_S:.0f} s.")
