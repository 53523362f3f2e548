"""Kafka as it is used: TLS, passwords, certificates, and what is told where they do not fit."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from usage_analytics import cli, parts
from usage_analytics.definitions import defs
from usage_analytics.errors import UserError
from usage_analytics.ingestion import draining, kafka_source
from usage_analytics.ingestion.topics import create_topic, partitions_of
from usage_analytics.orchestration import sensors
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.resources import Platform
from usage_analytics.settings import load_settings
from usage_analytics.simulation.producing import TopicProducer
from usage_analytics_tests.integration import secured_kafka
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    clean_environment,
    messages_landed,
    micro_batch,
    open_window,
)
from usage_analytics_tests.integration.secured_kafka import EVENT_HUBS_PASSWORD, EVENT_HUBS_USER, SecuredKafka
from usage_analytics_tests.integration.test_retention import watched

pytestmark = pytest.mark.apache_kafka
WRONG = "a-wrong-password-9a1f"
NO_TLS = {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    if message := secured_kafka.missing_tools():
        pytest.skip(message)
    with secured_kafka.secured_kafka(tmp_path_factory.mktemp("secured_kafka")) as started:
        yield started


@pytest.fixture(params=["drained", "one by one"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "one by one":
        monkeypatch.setattr(kafka_source, "compiled", lambda: None)
    elif draining.compiled() is None:
        pytest.skip("draining was not compiled: no C compiler was there at installation")


def in_environment(monkeypatch: pytest.MonkeyPatch, home: Path, variables: dict[str, str]) -> None:
    topic = f"usage-messages-{uuid.uuid4().hex[:8]}"
    clean_environment(monkeypatch, home, TOPIC=topic, PSEUDONYM_KEY="a key for tests only", KAFKA_TIMEOUT_S=10)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "by", ["one by one", pytest.param("drained", marks=pytest.mark.slow)], indirect=True
)  # the other way is shown by the test of passwords too
def test_a_micro_batch_lands_over_tls_with_a_password(
    secured: SecuredKafka, by: None, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_environment(monkeypatch, memory_path, secured.environment(mechanism="SCRAM-SHA-512"))
    settings = load_settings()
    produced = Produced(settings, settings.calendar.latest_closed_day(datetime.now(UTC)))
    produced.send(200, broken_of_each_kind=1)
    assert messages_landed(micro_batch(settings, open_window(settings))) == 210
    produced.assert_came_through_once()


def mistakes() -> dict[str, tuple[str, dict[str, str], str]]:
    """What is set otherwise (listener, variables), and what is told of it."""
    no_user = r"Kafka at <server> refuses the user name or the password \(KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD\): "
    scram = {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}
    return {
        "wrong password": ("SASL_SSL", {"KAFKA_SASL_PASSWORD": WRONG}, no_user + ".*Invalid username or password"),
        "wrong password, SCRAM": (
            "SASL_SSL", {**scram, "KAFKA_SASL_PASSWORD": WRONG}, no_user + ".*invalid credentials.*",
        ),
        "unknown user": ("SASL_SSL", {"KAFKA_SASL_USERNAME": "nobody"}, no_user + ".*Invalid username or password"),
        "another way of signing in": (
            "SASL_SSL", {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"},
            r"Kafka at <server> refuses this way of signing in \(KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM\): .*"
            "broker's supported mechanisms: PLAIN,SCRAM-SHA-512",
        ),
        "unknown authority": (
            "SASL_SSL", {"KAFKA_SSL_CA_LOCATION": "<folder>/stranger_ca.pem"},
            r"the certificate of Kafka at <server> is not accepted \(KAFKA_SSL_CA_LOCATION\): .*",
        ),
        "another host's certificate": (
            "SSL", {"KAFKA_SECURITY_PROTOCOL": "SSL"},
            r"the certificate of Kafka at <server> is not accepted \(KAFKA_BOOTSTRAP_SERVERS\): IP address mismatch.*",
        ),
        "plain text to a TLS port": (
            "SASL_SSL", NO_TLS,
            "Kafka at <server> speaks TLS, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT: set it to SASL_SSL or SSL",
        ),
        "TLS to a plain port": (
            "PLAINTEXT", {},
            "Kafka at <server> does not speak TLS on this port, but KAFKA_SECURITY_PROTOCOL is SASL_SSL",
        ),
        "a file that is not there": (
            "SASL_SSL", {"KAFKA_SSL_CA_LOCATION": "<folder>/no.pem"},
            "KAFKA_SSL_CA_LOCATION names <folder>/no.pem, which is not there",
        ),
        "a misspelled setting": (
            "SASL_SSL", {"KAFKA_SASL_PASWORD": WRONG},
            r"Kafka settings are not usable \(KAFKA_SASL_PASWORD\): No such configuration property.*",
        ),
        "no password": (
            "SASL_SSL", {"KAFKA_SASL_PASSWORD": ""},
            r"Kafka settings are not usable \(KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD\): .*must be set",
        ),
        "a misspelled mechanism": (
            "SASL_SSL", {"KAFKA_SASL_MECHANISM": "PLAN"},
            r"Kafka settings are not usable \(KAFKA_SASL_MECHANISM\): .*Unsupported SASL mechanism: PLAN",
        ),
        "wrong password of a key": (
            "SASL_SSL",
            {
                "KAFKA_SSL_KEY_LOCATION": "<folder>/locked.key",
                "KAFKA_SSL_CERTIFICATE_LOCATION": "<folder>/server.pem",
                "KAFKA_SSL_KEY_PASSWORD": WRONG,
            },
            r"Kafka settings are not usable \(KAFKA_SSL_KEY_LOCATION, KAFKA_SSL_KEY_PASSWORD\): .*",
        ),
    }  # fmt: skip


def sentences(secured: SecuredKafka, mistake: str) -> list[str]:
    """What is told by the platform's reader, and by what asks before messages are sent."""
    listener, variables, _ = mistakes()[mistake]
    environment = {**secured.environment(), "KAFKA_BOOTSTRAP_SERVERS": secured.server(listener), **variables}
    settings = load_settings(
        {name: value.replace("<folder>", str(secured.directory)) for name, value in environment.items()}
    )
    with pytest.raises(UserError) as by_reader, parts.kafka_source(settings) as source:
        source.topic_id()
    with pytest.raises(UserError) as by_producer:
        partitions_of(parts.kafka_client(settings), settings.topic)
    return [str(by_reader.value), str(by_producer.value)]


@pytest.fixture(scope="module")
def told(secured: SecuredKafka) -> dict[str, list[str]]:
    """The sentences on each mistake, made at once: most of the time is spent waiting for refusals."""
    with ThreadPoolExecutor(len(mistakes())) as pool:
        return dict(zip(mistakes(), pool.map(lambda mistake: sentences(secured, mistake), mistakes()), strict=True))


@pytest.mark.parametrize("mistake", mistakes())
def test_a_mistake_is_named_in_one_sentence(secured: SecuredKafka, told: dict[str, list[str]], mistake: str) -> None:
    listener, _, expected = mistakes()[mistake]
    places = {"<server>": secured.server(listener), "<folder>": str(secured.directory)}
    for name, place in places.items():
        expected = expected.replace(name, re.escape(place))
    assert all(re.fullmatch(expected, sentence) for sentence in told[mistake]), told[mistake]


def test_a_password_that_is_refused_while_reading_is_told(secured: SecuredKafka, by: None) -> None:
    settings = replace(load_settings(secured.environment(password=WRONG)), kafka_timeout_s=0.3)
    with (
        parts.kafka_source(settings) as source,
        pytest.raises(UserError, match=r"stopped answering .* from offset 0: .*refuses the user name or the password"),
    ):
        list(source.read(0, 0, 1, 10))


def test_no_user_where_one_is_asked_for_is_told(secured: SecuredKafka) -> None:
    settings = load_settings({"KAFKA_BOOTSTRAP_SERVERS": secured.server("SASL_PLAINTEXT"), **NO_TLS})
    told = "did not answer within 1 s: it closes connections; does it want a user and a password?"
    with (
        parts.kafka_source(replace(settings, kafka_timeout_s=1)) as source,
        pytest.raises(UserError, match=re.escape(f"Kafka at {secured.server('SASL_PLAINTEXT')} {told}")),
    ):
        source.watermarks()


def test_a_topic_that_the_user_may_not_see_is_told(secured: SecuredKafka) -> None:
    settings = load_settings({**secured.environment(), "USAGE_ANALYTICS_TOPIC": "forbidden"})
    create_topic({"bootstrap.servers": secured.kafka.bootstrap_servers}, settings.topic, 1)
    secured_kafka.forbid(secured.kafka, settings.topic)
    with (
        parts.kafka_source(settings) as source,
        pytest.raises(UserError, match="does not let this user read topic 'forbidden'"),
    ):
        source.topic_id()


def test_without_the_right_to_ask_what_the_topic_keeps_the_check_warns(
    secured: SecuredKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_environment(monkeypatch, tmp_path, secured.environment())
    settings = load_settings()
    create_topic({"bootstrap.servers": secured.kafka.bootstrap_servers}, settings.topic, 1)
    secured_kafka.allow_only_reading(secured.kafka, settings.topic)
    found = watched(tmp_path)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    told = f"retention unknown: Kafka does not tell what topic '{settings.topic}' keeps: "
    told += ".*[Aa]uthorization.* DescribeConfigs"
    assert re.fullmatch(told + r"\)", str(found.description))


def test_a_password_that_is_refused_while_sending_is_told(secured: SecuredKafka) -> None:
    producer = TopicProducer(parts.kafka_client(load_settings(secured.environment(password=WRONG))), "messages")
    producer.send([(b"key", b"value")])
    with pytest.raises(UserError, match=r"did not take all messages of 'messages': 1 were not .*refuses the user name"):
        producer.close()


def test_no_password_is_written_anywhere(
    secured: SecuredKafka, memory_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = {
        "KAFKA_SSL_KEY_LOCATION": str(secured.directory / "locked.key"),
        "KAFKA_SSL_CERTIFICATE_LOCATION": str(secured.directory / "server.pem"),
        "KAFKA_SSL_KEY_PASSWORD": secured_kafka.KEY_PASSWORD,
    }
    in_environment(monkeypatch, memory_path, {**secured.environment(EVENT_HUBS_USER, EVENT_HUBS_PASSWORD), **key})
    settings = load_settings()
    produced = Produced(settings, settings.calendar.latest_closed_day(datetime.now(UTC)))
    produced.send(50)
    window = open_window(settings)
    shown = []
    for password in (WRONG, EVENT_HUBS_PASSWORD):
        monkeypatch.setenv("KAFKA_SASL_PASSWORD", password)
        refused = password == WRONG
        if refused:
            with pytest.raises(dg.Failure, match="refuses the user name or the password") as failed:
                micro_batch(load_settings(), window)
            with pytest.raises(RuntimeError, match="refuses the user name or the password") as ticked:
                tick(memory_path)
            shown += [repr(failed.value), repr(ticked.value)]
        else:
            assert messages_landed(micro_batch(load_settings(), window)) == 50
        assert run(monkeypatch, "status") == (2 if refused else 0)
        run(monkeypatch, "settings")
    terminal = capfd.readouterr()
    assert "refuses the user name or the password" in terminal.err
    files = [path for path in memory_path.rglob("*") if path.is_file()]
    assert any(b"refuses the user name or the password" in path.read_bytes() for path in files)  # the run's events
    written = b"".join(path.read_bytes() for path in files) + "".join([*terminal, *shown]).encode()
    for secret in (WRONG, EVENT_HUBS_PASSWORD, "SharedAccessKey=", secured_kafka.KEY_PASSWORD):
        assert secret.encode() not in written


def tick(home: Path) -> None:
    """What the sensor does by itself."""
    with open_instance(home) as instance:
        platform = {"platform": Platform()}
        built = dg.build_sensor_context(instance=instance, repository_def=defs.get_repository_def(), resources=platform)
        with built as context:
            sensors.waiting_messages.evaluate_tick(context)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """A command as a person gives it; its exit code."""
    monkeypatch.setattr(sys, "argv", ["usage-analytics", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)
