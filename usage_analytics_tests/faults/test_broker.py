"""The broker is killed, or falls silent, while messages land: a sentence, and the next run lands the rest."""

from __future__ import annotations

import re
import threading
import time

import pytest

from usage_analytics import parts
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import enrich_again
from usage_analytics.settings import PREFIX, load_settings
from usage_analytics_tests.faults.brokers import Platform
from usage_analytics_tests.faults.failing_runs import at_batch, sentence_of_failure
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    assert_landed_is_loaded,
    messages_landed,
    micro_batch,
    open_window,
    raw_values,
)

pytestmark = pytest.mark.faults
MINUTE_S = 60
# The broker goes while the second chunk of the first Kafka partition is being written.
SECOND_CHUNK = 5


def landed(produced: Produced) -> int:
    return sum(record.rows for record in parts.offset_log(produced.settings).all())


@pytest.mark.slow
def test_killed_in_the_midst_and_started_again(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    produced, broker, settings = platform.produced, platform.broker, platform.produced.settings
    window = open_window(settings)
    produced.send(3_000, broken_of_each_kind=5)
    with monkeypatch.context() as meanwhile:
        at_batch(meanwhile, SECOND_CHUNK, broker.kill)
        told = sentence_of_failure(settings, window)
    assert re.match(r"Kafka at 127.0.0.1:\d+ (did not answer within 3 s|stopped answering while reading)", told), told
    before = landed(produced)
    assert 300 <= before < 3_050
    assert "did not answer" in (told := sentence_of_failure(settings, window)) or "no Kafka: set" in told

    broker.restart()
    if not broker.keeps_its_data:
        another_cluster_is_refused(produced, window, monkeypatch)
        return
    produced.send(500, broken_of_each_kind=1)
    assert before + messages_landed(micro_batch(settings, window)) == 3_560
    produced.assert_came_through_once()


def another_cluster_is_refused(produced: Produced, window: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost of what had landed; what the new cluster holds can be landed beside it."""
    settings, old = produced.settings, list(parts.offset_log(produced.settings).all())
    kept = list(raw_values(settings, old))
    assert f"topic '{settings.topic}' is not on Kafka" in sentence_of_failure(settings, window)
    produced.good, produced.broken = [], []
    produced.send(4_000, broken_of_each_kind=1)  # longer than before: offsets alone would not tell
    told = sentence_of_failure(settings, window)
    assert "it was deleted and created again, or this is another cluster (topic id " in told
    assert "give it its own USAGE_ANALYTICS_TOPIC or USAGE_ANALYTICS_HOME" in told

    assert list(parts.offset_log(settings).all()) == old
    with open_instance(settings.home) as instance:
        enrich_again(window, instance)
    assert_landed_is_loaded(settings)
    assert list(raw_values(settings, old)) == kept

    monkeypatch.setenv(PREFIX + "TOPIC", "another")
    produced.settings = load_settings()
    produced.good, produced.broken = [], []
    produced.send(500, broken_of_each_kind=1)
    assert messages_landed(micro_batch(produced.settings, window)) == 510
    produced.assert_came_through_once()
    assert_landed_is_loaded(settings)


@pytest.mark.slow
def test_a_short_silence_is_waited_for(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    produced, broker = platform.produced, platform.broker
    monkeypatch.setenv(PREFIX + "KAFKA_TIMEOUT_S", "20")
    window = open_window(produced.settings)
    produced.send(3_000, broken_of_each_kind=2)

    def silence() -> None:
        broker.fall_silent()
        threading.Timer(5, broker.speak_again).start()

    with monkeypatch.context() as meanwhile:
        at_batch(meanwhile, SECOND_CHUNK, silence)
        assert messages_landed(micro_batch(produced.settings, window)) == 3_020
    produced.assert_came_through_once()


@pytest.mark.slow
def test_unreachable_for_a_minute(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    produced, broker, settings = platform.produced, platform.broker, platform.produced.settings
    window = open_window(settings)
    produced.send(3_000, broken_of_each_kind=5)
    since: list[float] = []

    def silence() -> None:
        broker.fall_silent()
        since.append(time.monotonic())

    try:
        with monkeypatch.context() as meanwhile:
            at_batch(meanwhile, SECOND_CHUNK, silence)
            told = [sentence_of_failure(settings, window)]
        before = landed(produced)
        assert 300 <= before < 3_050
        while time.monotonic() < since[0] + MINUTE_S:  # as a sensor tries again and again
            told.append(sentence_of_failure(settings, window))
    finally:
        broker.speak_again()
    assert landed(produced) == before
    assert len(told) > 3
    for each in told:
        assert re.match(r"Kafka at 127.0.0.1:\d+ (did not answer within 3 s|stopped answering while reading)", each), (
            each
        )
    layout = parts.layout(settings)
    assert len(list(layout.raw_window(window).iterdir())) == len(list(parts.offset_log(settings).all()))

    produced.send(500, broken_of_each_kind=1)
    assert before + messages_landed(micro_batch(settings, window)) == 3_560
    produced.assert_came_through_once()
