"""Sends recorded messages to Kafka, and knows at the end that each one arrived."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from usage_analytics.contract import Mapping
from usage_analytics.errors import UserError

PRODUCER_TUNING = {
    "compression.type": "lz4",
    "linger.ms": 20,
    "enable.idempotence": True,
    "delivery.report.only.error": True,
    "queue.buffering.max.messages": 200_000,
}
FLUSH_TIMEOUT_S = 60.0
LOGGER = logging.getLogger("usage_analytics.kafka")  # librdkafka would write to the terminal itself
PROGRESS_EVERY = 10_000


def ndjson_messages(path: Path, mapping: Mapping) -> Iterator[tuple[bytes | None, bytes]]:
    """Each line of a file, as it is, keyed by its user so that one user's messages stay in order."""
    pointers = next(field for field in mapping.fields if field.name == "user").pointers
    try:
        with path.open("rb") as file:
            for line in file:
                message = line.rstrip(b"\r\n")
                if message:
                    yield _user_key(message, pointers), message
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def send(
    client: dict[str, Any], topic: str, messages: Iterable[tuple[bytes | None, bytes]],
    progress: Callable[[int], None] = lambda sent: None,
) -> int:  # fmt: skip
    """Send messages and wait until Kafka has them all; how many. Any that Kafka refused is a `UserError`."""
    from confluent_kafka import KafkaError, KafkaException, Message, Producer

    refused: list[str] = []

    def note(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error.str())

    try:
        producer = Producer({**PRODUCER_TUNING, **client, "on_delivery": note, "logger": LOGGER})
    except KafkaException as error:
        raise UserError(f"Kafka settings are not usable: {error.args[0].str()}") from None
    sent = 0
    for key, value in messages:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:  # the queue is full: wait until Kafka took some
                producer.poll(0.1)
            except KafkaException as error:
                producer.flush(FLUSH_TIMEOUT_S)
                size = f"message {sent + 1}, of {len(value or b''):,} bytes"
                raise UserError(
                    f"Kafka refused {size}: {error.args[0].str()}; the {sent} before it were sent"
                ) from None
        sent += 1
        if sent % PROGRESS_EVERY == 0:
            producer.poll(0)
            progress(PROGRESS_EVERY)
        if refused:
            break
    left = producer.flush(FLUSH_TIMEOUT_S)
    progress(sent % PROGRESS_EVERY)
    if refused or left:
        why = refused[0] if refused else f"{left} were not acknowledged within {FLUSH_TIMEOUT_S:g} s"
        raise UserError(f"Kafka at {client['bootstrap.servers']} did not take all messages of {topic!r}: {why}")
    return sent


def _user_key(message: bytes, pointers: tuple[str, ...]) -> bytes | None:
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return None  # broken messages are sent too: judging them is the platform's work, not the producer's
    for pointer in pointers:
        value = _resolve(document, pointer)
        if isinstance(value, str | int):
            return str(value).encode("utf-8", "replace")
    return None


def _resolve(document: object, pointer: str) -> object:
    for token in pointer[1:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document
