"""Sends recorded messages to Kafka, and knows at the end that each one arrived."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from usage_analytics.contract import Mapping
from usage_analytics.errors import UserError
from usage_analytics.simulation.producing import TopicProducer

PROGRESS_EVERY = 10_000


def ndjson_messages(path: Path, mapping: Mapping) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Each line of a file, as it is, keyed by its user so that one user's messages stay in order.

    An empty line is a tombstone, as `FolderTarget` writes it; one at the very end is just the end of the file.
    """
    pointers = next(field for field in mapping.fields if field.name == "user").pointers
    try:
        with path.open("rb") as file:
            empty = False
            for line in file:
                if empty:
                    yield None, None
                message = line.rstrip(b"\r\n")
                empty = not message
                if message:
                    yield _user_key(message, pointers), message
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def send(
    client: dict[str, Any], topic: str, messages: Iterable[tuple[bytes | None, bytes | None]],
    progress: Callable[[int], None] = lambda sent: None,
) -> int:  # fmt: skip
    """Send messages and wait until Kafka has them all; how many. Any that Kafka refused is a `UserError`."""
    producer = TopicProducer(client, topic)
    stream = iter(messages)
    while batch := list(islice(stream, PROGRESS_EVERY)):
        producer.send(batch)
        progress(len(batch))
    producer.close()
    return producer.sent


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
