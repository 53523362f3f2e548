"""What Kafka hands out and no honest client sends: damaged messages, names of headers that are no text."""

from typing import Any

import pytest
from mock_cluster import MockCluster, batch_of

from usage_analytics.ingestion import draining, kafka_source
from usage_analytics.ingestion.kafka_source import KafkaSource
from usage_analytics.ingestion.range_reader import Undeliverable

DAMAGED = (
    r"could not deliver clicks partition 0 offset 4: .* \(the messages there are damaged: let a broker lead that has "
    r"them whole; where none has, delete what is up to behind them on Kafka, with kafka-delete-records, and accept the "
)


@pytest.fixture(params=["drained", "one by one"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "one by one":
        monkeypatch.setattr(kafka_source, "compiled", lambda: None)
    elif draining.compiled() is None:
        pytest.skip("draining was not compiled: no C compiler was there at installation")
    return str(request.param)


def values(source: KafkaSource, start: int, end: int, batch_messages: int = 100) -> list[bytes]:
    batches = source.read(0, start, end, batch_messages)
    return [value for batch in batches for value in batch.column("value").to_pylist()]


def test_damaged_messages_are_not_given_and_those_before_them_are(by: str, cluster: MockCluster) -> None:
    cluster.append(batch_of(b"1", b"2", b"3"))
    cluster.append(batch_of(b"4", b"5", damaged=True))
    cluster.append(batch_of(b"6"))
    with cluster.source() as source:
        given: list[bytes] = []
        with pytest.raises(Undeliverable, match=DAMAGED):
            given += (value for batch in source.read(0, 1, 7, 2) for value in batch.column("value").to_pylist())
        assert given == [b"1", b"2", b"3"]
        assert values(source, 0, 4) == [b"{}", b"1", b"2", b"3"]  # whatever comes behind
        assert values(source, 6, 7) == [b"6"]
        with pytest.raises(Undeliverable, match=DAMAGED):
            values(source, 4, 7)


def test_whoever_likes_may_read_them_all_the_same(by: str, cluster: MockCluster) -> None:
    cluster.append(batch_of(b"1", b"2", damaged=True))
    with cluster.source(**{"check.crcs": "false"}) as source:
        assert values(source, 1, 3) == [b"1", b"2"]


def test_header_names_that_are_no_text_land(by: str, cluster: MockCluster) -> None:
    headers = ((b"plain", b"1"), ("é".encode(), None), (b"n\xe9", b"\xe9"))
    cluster.append(batch_of(*[b"m"] * 50, headers=headers))
    with cluster.source() as source:
        [batch] = source.read(0, 1, 51, 100)
    batch.validate(full=True)
    # confluent-kafka gives none of the names then.
    names: list[Any] = ["plain", "é", "n\\xe9"] if by == "drained" else [None] * 3
    kept = [{"name": name, "value": value} for name, value in zip(names, (b"1", None, b"\xe9"), strict=True)]
    assert batch.column("headers").to_pylist() == [kept] * 50
