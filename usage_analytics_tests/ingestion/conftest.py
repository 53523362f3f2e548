"""A Kafka cluster without Kafka."""

from collections.abc import Iterator

import pytest
from mock_cluster import MockCluster, mock_cluster


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster() as cluster:
        yield cluster
