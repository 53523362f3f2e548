"""The platform on both brokers, set up so that little data makes many chunks, one step after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics_tests.faults.brokers import Apache, Embedded, Platform
from usage_analytics_tests.integration import apache_kafka
from usage_analytics_tests.integration.platform_under_test import Produced, embedded_platform, on_apache

# One worker, so that the order of steps is sure; a short time-out, so that an outage is told soon.
LIMITS = {"CHUNK_MESSAGES": 300, "BATCH_MESSAGES": 100, "PARALLEL": 1, "KAFKA_TIMEOUT_S": 3}
BOTH = ["embedded", pytest.param("apache", marks=[pytest.mark.apache_kafka, pytest.mark.slow])]


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apache_kafka.ApacheKafka]:
    """Apache Kafka, started once; a test that kills it starts it again."""
    if message := apache_kafka.missing_tools():
        pytest.skip(message)
    with apache_kafka.ApacheKafka.start(tmp_path_factory.mktemp("apache_kafka")) as started:
        yield started


@pytest.fixture(params=BOTH)
def platform(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with platform_on(request, monkeypatch, tmp_path) as started:
        yield started


@pytest.fixture
def produced(platform: Platform) -> Produced:
    return platform.produced


@contextmanager
def platform_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Platform]:
    """The platform in a home folder, on the broker that the fixture's parameter names."""
    if request.param == "apache":
        kafka = request.getfixturevalue("apache")
        yield Platform(on_apache(monkeypatch, home, kafka, **LIMITS), Apache(kafka))
        return
    with embedded_platform(monkeypatch, home, **LIMITS) as produced:
        started = EmbeddedBroker.running(produced.settings.broker_directory)
        assert started is not None
        broker = Embedded(started)
        yield Platform(produced, broker)
        broker.kill()
