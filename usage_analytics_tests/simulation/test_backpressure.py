"""A simulation is held back before Kafka deletes what was not landed, and ends with a sentence if it did."""

import pytest
from fakes import TOPIC, FakeKafka

from usage_analytics.errors import UserError
from usage_analytics.simulation import backpressure
from usage_analytics.simulation.backpressure import Backpressure


def watched(kafka: FakeKafka, landed: dict[int, int], most_waiting: int | None = 10) -> Backpressure:
    return Backpressure(kafka, lambda: landed, most_waiting)


def test_no_more_may_be_sent_than_has_room_and_landing_makes_room() -> None:
    kafka, landed = FakeKafka.of(2), {}
    pressure = watched(kafka, landed)
    assert pressure.allowance(0) == 20
    kafka.produce(0, *[b"m"] * 7)
    kafka.produce(1, *[b"m"] * 2)
    assert pressure.allowance(9) == 6, "the fuller partition counts"
    assert pressure.allowance(12) == 3, "three are on their way"
    assert (pressure.waiting, pressure.holding) == (9, False)
    kafka.produce(0, *[b"m"] * 3)
    assert pressure.allowance(12) == 0
    assert pressure.holding
    landed[0] = 10
    assert pressure.allowance(12) == 16


def test_messages_of_others_before_it_wait_too() -> None:
    kafka = FakeKafka.of(1)
    kafka.produce(0, *[b"m"] * 11)
    assert watched(kafka, {}).allowance(0) == 0


def test_without_a_limit_it_never_holds_back() -> None:
    kafka = FakeKafka.of(1)
    pressure = watched(kafka, {}, most_waiting=None)
    kafka.produce(0, *[b"m"] * 1_000)
    assert pressure.allowance(1_000) == float("inf")


def test_what_kafka_deleted_before_it_was_landed_is_named() -> None:
    kafka, landed = FakeKafka.of(1), {0: 4}
    kafka.produce(0, *[b"before"] * 4)
    pressure = watched(kafka, landed)
    kafka.produce(0, *[b"m"] * 10)
    kafka.kafka_partitions[0].low = 7
    told = f"topic '{TOPIC}', Kafka partition 0: Kafka deleted simulated messages 4 to 7 before they were landed"
    with pytest.raises(UserError, match=told):
        pressure.allowance(10)


def test_what_was_landed_or_came_before_may_be_deleted() -> None:
    kafka, landed = FakeKafka.of(1), {}
    kafka.produce(0, *[b"before"] * 4)
    pressure = watched(kafka, landed)
    kafka.produce(0, *[b"m"] * 9)
    kafka.kafka_partitions[0].low = 4
    assert pressure.allowance(9) == 1
    landed[0] = 9
    kafka.kafka_partitions[0].low = 9
    assert pressure.allowance(9) == 6


def test_when_nothing_is_landed_for_long_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "PATIENCE_S", 0.0)
    kafka = FakeKafka.of(1)
    pressure = watched(kafka, {})
    kafka.produce(0, *[b"m"] * 11)
    assert pressure.allowance(11) == 0
    with pytest.raises(UserError, match=r"11 messages wait.* nothing was landed for 0 minutes"):
        pressure.allowance(11)
