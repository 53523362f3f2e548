"""The check that watches Kafka's retention, as Dagster runs it, on a topic of Apache Kafka."""

import time
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from fakes import TOPIC, FakeKafka, land_all
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.definitions import defs
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import QUIET
from usage_analytics.settings import load_settings
from usage_analytics_tests.integration.apache_kafka import ApacheKafka
from usage_analytics_tests.integration.platform_under_test import clean_environment

HOUR_MS = 3_600_000


def watched(home: Path) -> dg.AssetCheckEvaluation:
    with open_instance(home) as instance:
        job = defs.resolve_job_def("watch_retention")
        result = job.execute_in_process(instance=instance, run_config=QUIET)
    (found,) = result.get_asset_check_evaluations()
    return found


@pytest.mark.apache_kafka
@pytest.mark.parametrize(
    ("hours_ago", "passed", "severity"),
    [(1, True, "WARN"), (20, False, "WARN"), (23.5, False, "ERROR")],
)
def test_it_warns_before_unread_messages_are_deleted(
    hours_ago: float, passed: bool, severity: str, apache: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"kept-{hours_ago}".replace(".", "-")
    clean_environment(monkeypatch, tmp_path, TOPIC=topic, PSEUDONYM_KEY="a key for tests only")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", apache.bootstrap_servers)
    admin = AdminClient({"bootstrap.servers": apache.bootstrap_servers})
    config = {"retention.ms": str(24 * HOUR_MS)}
    admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(30)
    producer = Producer({"bootstrap.servers": apache.bootstrap_servers})
    producer.produce(topic, b"{}", timestamp=int(time.time() * 1_000 - hours_ago * HOUR_MS))
    producer.flush(30)
    found = watched(load_settings().home)
    assert (found.passed, found.severity.value) == (passed, severity)
    assert found.metadata["hours_left"].value == pytest.approx(24 - hours_ago, abs=0.1)
    assert found.metadata["deleted_by"].value == "retention.ms"
    shown = CliRunner().invoke(cli.app, ["status"], catch_exceptions=False)
    told = f"Kafka deletes unread messages of Kafka partition 0 in {24 - hours_ago:.1f} hours"
    remedy = ": have them landed (usage-analytics ui starts runs by itself), or raise the topic's retention.ms"
    assert str(found.description) == (told if passed else told + remedy)
    assert (told + remedy in " ".join(shown.stdout.split()), shown.exit_code) == (not passed, severity == "ERROR")


def test_without_kafka_there_is_nothing_to_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    found = watched(tmp_path)
    assert found.passed and "nothing to watch: no Kafka: set KAFKA_BOOTSTRAP_SERVERS" in str(found.description)


def test_a_topic_that_the_lake_holds_and_kafka_does_not_fails_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_environment(monkeypatch, tmp_path, TOPIC=TOPIC)
    settings, kafka = load_settings(), FakeKafka.of(1)
    with EmbeddedBroker.start(settings.broker_directory):
        found = watched(tmp_path)
        assert found.passed and "nothing to watch: topic 'clicks' is not on Kafka" in str(found.description)
        kafka.produce(0, b"{}")
        land_all(kafka, parts.layout(settings))
        found = watched(tmp_path)
    told = "but the lake holds messages of it: it was deleted, or this is another cluster"
    assert (found.passed, found.severity.value) == (False, "ERROR") and told in str(found.description)


def test_every_loss_is_told_and_that_retention_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path, TOPIC=TOPIC, KAFKA_TIMEOUT_S=1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")  # of whom the settings are asked
    kafka = FakeKafka.of(2)
    monkeypatch.setattr(parts, "kafka_source", lambda settings: nullcontext(kafka))
    land_all(kafka, parts.layout(load_settings()))
    for number in (0, 1):
        kafka.produce(number, b"{}", b"{}")
        kafka.kafka_partitions[number].low = 1
    found = watched(tmp_path)
    assert (found.passed, found.severity.value) == (False, "ERROR")
    *losses, unknown = str(found.description).split("; ")[::2]
    lost = "topic 'clicks', Kafka partition {}: Kafka deleted offsets 0 to 1 before they were landed"
    assert losses == [lost.format(0), lost.format(1)]
    assert unknown.startswith("retention unknown: Kafka does not tell what topic 'clicks' keeps: ")


def test_a_kafka_that_does_not_answer_fails_it_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path, KAFKA_TIMEOUT_S=1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    found = watched(tmp_path)
    assert not found.passed and "Kafka at 127.0.0.1:9 did not answer within 1 s" in str(found.description)
