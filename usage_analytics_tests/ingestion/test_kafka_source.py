"""Asking a cluster of which some parts are down."""

from collections.abc import Callable

import pytest
from mock_cluster import NOBODY, MockCluster

from usage_analytics.errors import UserError
from usage_analytics.ingestion.planning import Watermarks
from usage_analytics.ingestion.shares import Share

SILENT = (
    "topic 'clicks', Kafka partition {}: Kafka at {} did not tell within 1 s what it holds of it: {}; "
    "it is left alone until Kafka does"
)


def without_a_leader(cluster: MockCluster) -> None:
    cluster.set_leader(1, NOBODY)


def with_its_leader_down(cluster: MockCluster) -> None:
    cluster.set_down(2)


@pytest.mark.parametrize("fails", [without_a_leader, with_its_leader_down])
def test_one_kafka_partition_that_cannot_be_asked_hides_no_other(
    fails: Callable[[MockCluster], None], cluster: MockCluster
) -> None:
    fails(cluster)
    with cluster.source() as source:
        held = source.held()
        assert held.marks == {number: Watermarks(0, 1) for number in (0, 2, 3)}
        [(number, why)] = held.unanswered.items()
        before, _, after = SILENT.partition(": {};")
        assert number == 1 and why.startswith(before.format(1, cluster.servers)) and why.endswith(after)
        with pytest.raises(UserError, match="did not tell within 1 s"):
            source.watermarks()
        assert sorted(source.watermarks(Share(0, 2).takes)) == [0, 2]


def test_where_none_can_be_asked_that_is_an_error(cluster: MockCluster) -> None:
    with_its_leader_down(cluster)
    with cluster.source() as source, pytest.raises(UserError, match="did not answer within 1 s"):
        source.held(lambda number: number == 1)
