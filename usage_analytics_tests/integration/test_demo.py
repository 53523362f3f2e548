"""The demo runs again and again, on both brokers, and touches no topic but its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from usage_analytics.errors import UserError
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.locks import alone_in
from usage_analytics.reporting.demo import run_demo
from usage_analytics_tests.integration.apache_kafka import ApacheKafka
from usage_analytics_tests.integration.platform_under_test import clean_environment


def test_it_runs_again_with_the_embedded_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean_environment(monkeypatch, tmp_path / "other")
    for _ in range(2):
        run_demo(tmp_path / "demo", 5_000)  # raises unless the counts agree
        shown = capsys.readouterr().out
        assert f"    export USAGE_ANALYTICS_HOME={tmp_path}/demo\n" in shown
        assert shown.endswith("/usage-analytics evaluate\n")


@pytest.mark.slow
@pytest.mark.apache_kafka
def test_it_runs_again_on_a_cluster_in_topics_of_its_own(
    apache: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean_environment(monkeypatch, tmp_path / "other", TOPIC="production", PSEUDONYM_KEY="a key for tests only")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", apache.bootstrap_servers)
    for _ in range(2):
        run_demo(tmp_path / "demo", 5_000)
        assert "into a new topic, usage-analytics-demo-" in capsys.readouterr().out
    topics = AdminClient({"bootstrap.servers": apache.bootstrap_servers}).list_topics(timeout=10).topics
    assert "production" not in topics
    assert len([topic for topic in topics if topic.startswith("usage-analytics-demo-")]) == 2


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path / "other")
    home = tmp_path / "demo"
    home.mkdir()
    (home / "DEMO").touch()
    with EmbeddedBroker.start(home / "broker"), alone_in(home, "another demo"):
        with pytest.raises(UserError, match=f"^another demo is at work in {home}$"):
            run_demo(home, 5_000)
        assert EmbeddedBroker.running(home / "broker") is not None


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path / "other")
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="holds something that is not a demo's"):
        run_demo(tmp_path, 5_000)
    assert (tmp_path / "mine").read_text() == "precious"
