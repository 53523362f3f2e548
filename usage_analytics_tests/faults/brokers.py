"""Both brokers as things that can fail: killed, started again, fallen silent."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from typing import Protocol

from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics_tests.integration.apache_kafka import ApacheKafka
from usage_analytics_tests.integration.platform_under_test import Produced


class Broker(Protocol):
    """A broker that a test does harm to; whatever it did, the broker runs again afterwards."""

    keeps_its_data: bool

    def kill(self) -> None: ...

    def restart(self) -> None:
        """After `kill`: at the same address, with the data it kept."""
        ...

    def fall_silent(self) -> None:
        """Connections stay, but nothing is answered: as behind a network that drops packets."""
        ...

    def speak_again(self) -> None: ...


@dataclass
class Platform:
    """What a test of faults works with: messages and settings, and the broker below them."""

    produced: Produced
    broker: Broker


class Apache:
    keeps_its_data = True

    def __init__(self, kafka: ApacheKafka) -> None:
        self._kafka = kafka

    def kill(self) -> None:
        self._kafka.kill()

    def restart(self) -> None:
        self._kafka.restart()

    def fall_silent(self) -> None:
        os.kill(self._kafka.pid, signal.SIGSTOP)

    def speak_again(self) -> None:
        os.kill(self._kafka.pid, signal.SIGCONT)


class Embedded:
    """Messages are in its memory only: killed and started again, it is another cluster."""

    keeps_its_data = False

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self._port = int(broker.bootstrap_servers.rsplit(":", 1)[1])

    def kill(self) -> None:
        self._broker.stop()

    def restart(self) -> None:
        self._broker = EmbeddedBroker.start(self._broker.directory, self._port)

    def fall_silent(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def speak_again(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        return int(json.loads((self._broker.directory / "broker.json").read_text())["pid"])
