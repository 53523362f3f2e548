"""Sends messages to one Kafka topic, and knows at the end that each one arrived."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from usage_analytics.errors import UserError

TUNING = {
    "compression.type": "lz4",
    "linger.ms": 20,
    "enable.idempotence": True,
    "delivery.report.only.error": True,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 131_072,
}
FLUSH_TIMEOUT_S = 60.0
LOOK_S = 1.0  # how long a flush goes on before it looks whether Kafka refuses the client
ANY_PARTITION = -1  # chosen by the key
LOGGER = logging.getLogger("usage_analytics.kafka")  # librdkafka would write to the terminal itself


class TopicProducer:
    """A producer of one topic; whatever Kafka refuses is a `UserError` at the next call, or at `close`."""

    def __init__(self, client: dict[str, Any], topic: str) -> None:
        from confluent_kafka import Producer

        from usage_analytics.ingestion.client_settings import told_settings
        from usage_analytics.ingestion.connection import Heard

        self._servers, self._topic, self._heard = client["bootstrap.servers"], topic, Heard(client)
        self._refused: list[str] = []
        self.sent = 0
        heard = {"error_cb": self._heard, "on_delivery": self._note, "logger": LOGGER}
        with told_settings(client):
            self._producer = Producer({**TUNING, **client, **heard})

    def send(self, messages: Iterable[tuple[bytes | None, bytes | None]], kafka_partition: int = ANY_PARTITION) -> None:
        """Hand over keys and values, waiting while the queue is full."""
        from confluent_kafka import KafkaException

        produce, topic = self._producer.produce, self._topic
        for key, value in messages:
            while True:
                try:
                    produce(topic, value, key, kafka_partition)
                    break
                except BufferError:  # wait until Kafka took some
                    self._producer.poll(0.1)
                    self._refuse_losses()
                except KafkaException as error:
                    self._producer.flush(FLUSH_TIMEOUT_S)
                    size = f"message {self.sent + 1}, of {len(value or b''):,} bytes"
                    before = f"the {self.sent} before it were sent"
                    raise UserError(f"Kafka refused {size}: {error.args[0].str()}; {before}") from None
            self.sent += 1
        self._producer.poll(0)
        self._refuse_losses()

    def close(self) -> None:
        """Wait until Kafka has all of them."""
        deadline = time.monotonic() + FLUSH_TIMEOUT_S
        before = left = len(self._producer)
        while left and time.monotonic() < deadline:
            left = self._producer.flush(LOOK_S)
            if left < before:
                self._heard.forget()  # it gets on
            elif self._heard.from_all and self._heard.refusal():
                break
            before = left
        self._refuse_losses(f"{left} were not acknowledged" if left else None)

    def _note(self, error: Any, message: Any) -> None:
        if error is not None:
            self._refused.append(error.str())

    def _refuse_losses(self, why: str | None = None) -> None:
        if self._refused or why:
            place = f"Kafka at {self._servers} did not take all messages of {self._topic!r}"
            cause = self._heard.refusal() or self._heard.cause
            told = [self._refused[0] if self._refused else why, cause]
            raise UserError(f"{place}: {'; '.join(each for each in told if each)}")
