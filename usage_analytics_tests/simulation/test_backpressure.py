"""A simulation is held back before Kafka deletes what was not landed, and ends with a sentence if it did."""

import pytest
from fakes import TOPIC, FakeKafka

from usage_analytics.errors import UserError
from usage_analytics.simulation import backpressure
from usage_analytics.simulation.backpressure import Backpressure


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "LOOK_EVERY_S", 0.0)


def watched(kafka: FakeKafka, landed: dict[int, int], most_waiting: int | None = 10) -> Backpressure:
    return Backpressure(kafka, lambda: landed, most_waiting)


def test_it_holds_back_while_too_much_waits_and_goes_on_when_it_was_landed() -> None:
    kafka, landed = FakeKafka.of(2), {}
    pressure = watched(kafka, landed)
    kafka.produce(0, *[b"m"] * 10)
    assert not pressure.look()
    kafka.produce(0, b"one more")
    assert pressure.look()
    assert (pressure.waiting, pressure.holding) == (11, True)
    landed[0] = 5
    assert not pressure.look()
    assert pressure.waiting == 6


def test_messages_of_others_before_it_wait_too() -> None:
    kafka = FakeKafka.of(1)
    kafka.produce(0, *[b"m"] * 11)
    assert watched(kafka, {}).look()


def test_without_a_limit_it_never_holds_back() -> None:
    kafka = FakeKafka.of(1)
    pressure = watched(kafka, {}, most_waiting=None)
    kafka.produce(0, *[b"m"] * 1_000)
    assert not pressure.look()


def test_what_kafka_deleted_before_it_was_landed_is_named() -> None:
    kafka, landed = FakeKafka.of(1), {0: 4}
    kafka.produce(0, *[b"before"] * 4)
    pressure = watched(kafka, landed)
    kafka.produce(0, *[b"m"] * 10)
    kafka.kafka_partitions[0].low = 7
    told = f"topic '{TOPIC}', Kafka partition 0: Kafka deleted simulated messages 4 to 7 before they were landed"
    with pytest.raises(UserError, match=told):
        pressure.look()


def test_what_was_landed_or_came_before_may_be_deleted() -> None:
    kafka, landed = FakeKafka.of(1), {}
    kafka.produce(0, *[b"before"] * 4)
    pressure = watched(kafka, landed)
    kafka.produce(0, *[b"m"] * 10)
    kafka.kafka_partitions[0].low = 4
    assert not pressure.look()
    landed[0] = 9
    kafka.kafka_partitions[0].low = 9
    assert not pressure.look()


def test_when_nothing_is_landed_for_long_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "PATIENCE_S", 0.0)
    kafka = FakeKafka.of(1)
    pressure = watched(kafka, {})
    kafka.produce(0, *[b"m"] * 11)
    assert pressure.look()
    with pytest.raises(UserError, match=r"11 messages wait.* nothing was landed for 0 minutes"):
        pressure.look()
