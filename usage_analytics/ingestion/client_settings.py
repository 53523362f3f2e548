"""Tells which setting a Kafka client refuses, by the name of the variable that holds it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from usage_analytics.errors import UserError

NAMED = re.compile(r"(?<![\w./])(?:sasl|ssl|security)(?:\.[a-z0-9_]+)+")


@contextmanager
def told_settings(client: Mapping[str, Any]) -> Iterator[None]:
    """Where clients are made: what librdkafka refuses of these settings is a `UserError`."""
    try:
        yield
    except (KafkaException, ValueError, TypeError) as error:
        why = reason(error)
        for name in client:
            if name in why and name.endswith(".location") and not Path(str(client[name])).exists():
                raise UserError(f"{_variable(name)} names {client[name]}, which is not there") from None
        named = _variables(client, why)
        which = f" ({', '.join(named)})" if named else ""
        raise UserError(f"Kafka settings are not usable{which}: {why}") from None


def reason(error: Exception) -> str:
    """What an error of a Kafka client says."""
    cause = error.args[0] if error.args else error
    return (cause.str() if isinstance(cause, KafkaError) else str(cause)).strip()


def _variables(client: Mapping[str, Any], why: str) -> list[str]:
    mine = [name for name in client if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", why)]
    mine = sorted({*mine, *NAMED.findall(why)}, key=why.index)
    if "SASL mechanism" in why:
        mine.append("sasl.mechanism")
    if "ssl.key.location" in mine and "ssl.key.password" not in mine:
        mine.append("ssl.key.password")
    return [_variable(name) for name in mine]


def _variable(name: str) -> str:
    return "KAFKA_" + name.upper().replace(".", "_")
