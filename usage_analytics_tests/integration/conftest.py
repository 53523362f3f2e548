"""Apache Kafka, started once for all tests that need it."""

from collections.abc import Iterator

import pytest

from usage_analytics_tests.integration import apache_kafka


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apache_kafka.ApacheKafka]:
    if message := apache_kafka.missing_tools():
        pytest.skip(message)
    settings = {
        "log.cleaner.backoff.ms": "100",
        "log.initial.task.delay.ms": "100",
        "log.retention.check.interval.ms": "200",
    }
    with apache_kafka.ApacheKafka.start(tmp_path_factory.mktemp("apache_kafka"), settings) as started:
        yield started
