"""Settings come from the environment; a wrong one is named."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import chunk_name
from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.lake.layout import Layout
from usage_analytics.settings import PREFIX, SETTINGS_HELP, current_values, load_settings, pseudonym_key


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = load_settings({})
    assert settings.home == Path.cwd() / ".usage_analytics"
    assert settings.lake == settings.home / "lake"
    assert settings.topic == "usage-messages"
    assert settings.bootstrap_servers is None
    assert settings.shares == 1
    assert settings.mapping.name == "usage_event"
    assert settings.calendar.clock.windows_per_day == 36


def test_values_are_typed() -> None:
    values = {
        "HOME": "/data/ua", "TOPIC": "t", "MAPPING": "wikipedia_app_events", "KAFKA_TIMEOUT_S": "3",
        "MICRO_BATCH_THRESHOLD": "5", "MAX_MESSAGES_PER_RUN": "6", "CHUNK_MESSAGES": "7", "CHUNK_MEGABYTES": "8",
        "BATCH_MESSAGES": "9", "PSEUDONYM_KEY": "0123456789abcdef", "EXCHANGE": "XLON", "TIMEZONE": "Europe/London",
        "OPENING_HOUR": "7", "CLOSING_HOUR": "18", "WINDOW_MINUTES": "30", "HISTORY_START": "2026-02-03",
        "PARALLEL": "4", "SHARES": "3", "SENSOR_INTERVAL_S": "11", "WAREHOUSE_MEMORY": "2000",
        "LONGEST_WAIT_S": "12", "ERROR_ACTIONS": "error, failed,", "FUNNELS": "/data/funnels.toml",
        "SYNAPSE_SERVER": "acme.sql.azuresynapse.net", "SYNAPSE_DATABASE": "pool", "SYNAPSE_SCHEMA": "ua",
        "SYNAPSE_LAKE": "https://acme.dfs.core.windows.net/usage/lake", "SYNAPSE_LOGIN": "loader",
        "SYNAPSE_PASSWORD": "secret;}{", "SYNAPSE_DRIVER": "FreeTDS",
    }  # fmt: skip
    assert set(values) == set(SETTINGS_HELP)  # a new setting is read, described and tested
    shared = load_settings({PREFIX + name: v for name, v in values.items() if not name.startswith("SYNAPSE_")})
    assert shared.shares == 3 and shared.synapse is None
    s = load_settings({PREFIX + name: value for name, value in (values | {"SHARES": "1"}).items()})
    assert (s.error_actions, s.funnels_file) == (("error", "failed"), Path("/data/funnels.toml"))
    assert s.synapse is not None and s.synapse.odbc.startswith(
        "DRIVER=FreeTDS;SERVER=acme.sql.azuresynapse.net;DATABASE=pool;Encrypt=yes;TrustServerCertificate=no;"
    )
    assert s.synapse.odbc.endswith("UID=loader;PWD={secret;}}{}") and "secret" not in repr(s)
    file = s.lake / "usage_events" / "t" / "window=1" / "a+b c.parquet"
    assert s.synapse.address(file) == f"{s.synapse.lake_address}/usage_events/t/window=1/a+b%20c.parquet"
    assert s.enriched_compression == "snappy"
    assert (s.home, s.topic, s.mapping.name, s.kafka_timeout_s) == (Path("/data/ua"), "t", "wikipedia_app_events", 3)
    assert (s.sensor_interval_s, s.longest_wait_s) == (11, 12)
    assert (s.micro_batch_threshold, s.max_messages_per_run, s.chunk_messages) == (5, 6, 7)
    assert (s.chunk_megabytes, s.batch_messages, s.history_start, s.parallel) == (8, 9, date(2026, 2, 3), 4)
    assert s.warehouse_memory == 2_000
    assert (s.clock.exchange, s.clock.timezone, s.clock.windows_per_day) == ("XLON", "Europe/London", 22)


@pytest.mark.parametrize(
    ("name", "value", "thing"),
    [
        ("TOPICS", "x", "is not a setting"),
        ("CHUNK_MESSAGES", "many", "whole number from 1 on, found 'many'"),
        ("CHUNK_MESSAGES", "0", "whole number from 1 on, found '0'"),
        ("BATCH_MESSAGES", "-5", "whole number from 1 on, found '-5'"),
        ("MAX_MESSAGES_PER_RUN", "1.5", "whole number from 1 on, found '1.5'"),
        ("KAFKA_TIMEOUT_S", "1s", "whole number from 1 on, found '1s'"),
        ("KAFKA_TIMEOUT_S", "3601", "at most 3,600, found '3601'"),
        ("MAX_MESSAGES_PER_RUN", "9" * 5_000, "at most 1,000,000,000, found '99999999999999999999'"),
        ("OPENING_HOUR", "9" * 5_000, "at most 1,000,000,000, found '99999999999999999999'"),
        ("WAREHOUSE_MEMORY", "512", "whole number from 768 on, found '512'"),
        ("SHARES", "0", "whole number from 1 on, found '0'"),
        ("SHARES", "0/2", "whole number from 1 on, found '0/2'"),
        ("SHARES", "65", "at most 64, found '65'"),
        ("HOME", "~nosuchuser/x", "a user whose home folder is not known, found '~nosuchuser/x'"),
        ("SYNAPSE_LAKE", "https://acme.blob.core.windows.net/x", "is set, but USAGE_ANALYTICS_SYNAPSE_SERVER is not"),
        ("HOME", "/data/u?x", "'/data/u?x' has '?' in it, which Dagster or DuckDB would take for another folder"),
        ("HOME", "/data/user_id=7/x", "'/data/user_id=7/x' has '/user_id=' in it, which Dagster or DuckDB would take"),
        ("HOME", "/data/a%20b", "'/data/a%20b' has '%20' in it, which Dagster or DuckDB would take"),
        (
            "HOME",
            "/data/a\\b",
            "has '\\\\' in it, which Dagster or DuckDB would take for another folder; choose a path",
        ),
        ("HOME", "/data/\udcff", "holds bytes that are not UTF-8 text"),
        ("TOPIC", "a/b", "the name of a Kafka topic: letters, digits, '.', '_' and '-', found 'a/b'"),
        ("TOPIC", "..", "the name of a Kafka topic: letters, digits, '.', '_' and '-', found '..'"),
        ("TOPIC", "clicks\n", "the name of a Kafka topic"),
        ("TOPIC", "x" * 171, "has 171 characters; names of files are made of it, so that 170 is the most"),
        ("HISTORY_START", "last year", "a day such as 2026-01-01, found 'last year'"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, thing: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings({PREFIX + name: value})
    assert str(caught.value).startswith(PREFIX + name)
    assert thing in str(caught.value)


def test_the_longest_topic_makes_names_that_a_file_system_takes(tmp_path: Path) -> None:
    topic = load_settings({PREFIX + "TOPIC": "x" * 170}).topic
    chunk = Layout(tmp_path, topic).usage_events("2026-11-23T1000", chunk_name(topic, 2**31 - 1, 2**63 - 1))
    temporary = temporary_beside(chunk)
    temporary.touch()
    publish(temporary, chunk)
    assert chunk.exists()


@pytest.mark.parametrize(
    "name", [PREFIX + "PSEUDONYM_KEY", PREFIX + "TOPIC", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CLIENT_ID"]
)
def test_bytes_that_are_no_text_are_told_by_the_name_of_their_variable(name: str) -> None:
    with pytest.raises(UserError) as told:
        load_settings({name: "secret \udcff\udcfe of sixteen bytes"})
    assert str(told.value) == f"{name} holds bytes that are not UTF-8 text"
    assert load_settings({"KAFKA_OPTS": "\udcff"}).kafka_client == ()  # Kafka's own scripts', not read here


def test_leading_zeros_are_read() -> None:
    assert load_settings({PREFIX + "CHUNK_MESSAGES": "0" * 5_000 + "7"}).chunk_messages == 7


def test_a_wrong_clock_is_named() -> None:
    with pytest.raises(UserError, match="hours 17 to 9"):
        load_settings({PREFIX + "OPENING_HOUR": "17", PREFIX + "CLOSING_HOUR": "9"})
    with pytest.raises(UserError, match="7 window minutes"):
        load_settings({PREFIX + "WINDOW_MINUTES": "7"})


def test_windows_may_start_at_midnight() -> None:
    assert load_settings({PREFIX + "OPENING_HOUR": "0"}).clock.opening_hour == 0


def test_kafka_client_settings_pass_through_and_those_of_its_scripts_do_not() -> None:
    environment = {
        "KAFKA_SASL_USERNAME": "u", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_HOME": "/opt/kafka",
        "KAFKA_OPTS": "-X", "KAFKA_HEAP_OPTS": "-Y", "KAFKA_BOOTSTRAP_SERVERS": "b:9092", "PATH": "/bin",
        "KAFKA_CONNECTIONS_MAX_IDLE_MS": "180000", "KAFKA_CHECK_CRCS": "false",
    }  # fmt: skip
    settings = load_settings(environment)
    assert dict(settings.kafka_client) == {
        "sasl.username": "u", "security.protocol": "SASL_SSL", "connections.max.idle.ms": "180000",
        "check.crcs": "false",
    }  # fmt: skip
    assert settings.bootstrap_servers == "b:9092"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {PREFIX + "PSEUDONYM_KEY": "hush-hush-hush-hush", "KAFKA_SASL_PASSWORD": "pass-pass"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    shown = f"{load_settings()!r} {current_values()}"
    assert not any(value in shown for value in secrets.values())


def test_a_connection_string_is_not_shown_as_a_server() -> None:
    with pytest.raises(
        UserError, match=r"KAFKA_BOOTSTRAP_SERVERS is a list .*a password \(KAFKA_SASL_PASSWORD\)"
    ) as told:
        load_settings({"KAFKA_BOOTSTRAP_SERVERS": "Endpoint=sb://n.servicebus.windows.net/;SharedAccessKey=hush"})
    assert "hush" not in str(told.value)


def test_a_cluster_demands_a_key_of_its_own() -> None:
    with pytest.raises(UserError, match=f"{PREFIX}PSEUDONYM_KEY is not set"):
        pseudonym_key(load_settings({"KAFKA_BOOTSTRAP_SERVERS": "b:9092"}))
    with pytest.raises(UserError, match=f"{PREFIX}PSEUDONYM_KEY is shorter than 16 characters"):
        pseudonym_key(load_settings({PREFIX + "PSEUDONYM_KEY": "short"}))


def test_the_development_key_is_made_once_whole_and_private(memory_path: Path) -> None:
    for attempt in range(20):
        home = memory_path / str(attempt)
        settings = load_settings({PREFIX + "HOME": str(home)})
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(lambda _, s=settings: pseudonym_key(s), range(8)))
        assert len(keys) == 1
        assert len(keys.pop()) == 64
        assert stat.S_IMODE((home / "development_pseudonym_key").stat().st_mode) == 0o600


POOL = {"SYNAPSE_SERVER": "s", "SYNAPSE_DATABASE": "d", "SYNAPSE_LAKE": "https://a.dfs.core.windows.net/c/lake"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"SYNAPSE_DATABASE": ""}, "SYNAPSE_SERVER is set, but USAGE_ANALYTICS_SYNAPSE_DATABASE is not"),
        ({"SYNAPSE_LAKE": ""}, "SYNAPSE_SERVER is set, but USAGE_ANALYTICS_SYNAPSE_LAKE is not"),
        (
            {"SYNAPSE_LAKE": "https://a.blob.core.windows.net/c"},
            "SYNAPSE_LAKE is the address of a folder such as https://",
        ),
        ({"SYNAPSE_LOGIN": "loader"}, "SYNAPSE_PASSWORD is not set: a SQL login is a name and a password"),
        ({"SYNAPSE_PASSWORD": "p"}, "SYNAPSE_LOGIN is not set: a SQL login is a name and a password"),
        (
            {"SHARES": "2"},
            "SHARES is 2 and USAGE_ANALYTICS_SYNAPSE_SERVER is set: a Synapse pool cannot keep the loads of several "
            "runs apart; leave USAGE_ANALYTICS_SHARES at 1",
        ),
    ],
)
def test_a_pool_that_is_half_set_is_told(changes: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings({PREFIX + name: value for name, value in {**POOL, **changes}.items()})
    assert str(caught.value).startswith(PREFIX + told)


def test_without_a_login_the_managed_identity_is_used() -> None:
    pool = load_settings({PREFIX + name: value for name, value in POOL.items()}).synapse
    assert pool is not None and pool.odbc.endswith(";Authentication=ActiveDirectoryMsi") and "UID" not in pool.odbc
