"""What is made of the errors that a client tells; the clusters that make it tell them are in test_secured_kafka."""

import pytest
from confluent_kafka import KafkaError

from usage_analytics.ingestion.connection import Heard

CLOSED = [
    "kafka:9092/bootstrap: Send failed: Broken pipe (after 3ms in state UP)",
    "kafka:9092/bootstrap: Receive failed: Connection reset by peer (after 2ms in state UP)",
]


@pytest.mark.parametrize("told", [[], *([text] for text in CLOSED)])
def test_a_connection_that_is_closed_is_guessed_at_whichever_side_noticed_first(told: list[str]) -> None:
    heard = Heard({"bootstrap.servers": "kafka:9092"})
    for text in told:
        heard.note(KafkaError._TRANSPORT, text)
    heard.note(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
    assert heard.cause == ""
    assert heard.guess().startswith("it closes connections; does it want a user and a password?")


def test_a_cause_that_says_more_is_kept() -> None:
    heard = Heard({"bootstrap.servers": "kafka:9092"})
    heard.note(KafkaError._TRANSPORT, "kafka:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused")
    heard.note(KafkaError._TRANSPORT, CLOSED[0])
    assert "Connection refused" in heard.cause
