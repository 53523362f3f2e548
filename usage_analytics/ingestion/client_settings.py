"""Tells which setting a Kafka client refuses, by the name of the variable that holds it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from usage_analytics.errors import UserError


@contextmanager
def told_settings(client: Mapping[str, Any]) -> Iterator[None]:
    """Where clients are made: what librdkafka refuses of these settings is a `UserError`."""
    try:
        yield
    except (KafkaException, ValueError, TypeError) as error:
        why = reason(error)
        named = [_variable(name) for name in client if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", why)]
        which = f" ({', '.join(named)})" if named else ""
        raise UserError(f"Kafka settings are not usable{which}: {why}") from None


def reason(error: Exception) -> str:
    """What an error of a Kafka client says."""
    cause = error.args[0] if error.args else error
    return (cause.str() if isinstance(cause, KafkaError) else str(cause)).strip()


def _variable(name: str) -> str:
    return "KAFKA_" + name.upper().replace(".", "_")
