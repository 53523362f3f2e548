"""What models read of users and of the day, in a pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import enriched_chunk

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse import readings_under_test as under_test

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool


@pytest.fixture
def make_chunk(synapse_pool: Pool) -> Callable[[str, list[dict[str, Any]]], EnrichedChunk]:
    return lambda window, events: enriched_chunk(synapse_pool.lake_folder, window, 0, 0, events, compression="snappy")


def test_sampled_sessions_are_whole_and_in_order(
    on_pool: SynapseWarehouse, make_chunk: under_test.MakeChunk, tmp_path: Path
) -> None:
    under_test.sampled_sessions_are_whole_and_in_order(on_pool, make_chunk, tmp_path)


def test_a_sample_has_whole_users(on_pool: SynapseWarehouse, make_chunk: under_test.MakeChunk) -> None:
    under_test.a_sample_has_whole_users_and_about_as_many_events(on_pool, make_chunk)


def test_visits_are_those_of_the_last_trading_days(on_pool: SynapseWarehouse, make_chunk: under_test.MakeChunk) -> None:
    under_test.visits_are_those_of_the_last_trading_days(on_pool, make_chunk)


def test_minutes_are_counted_from_the_opening_hour(on_pool: SynapseWarehouse, make_chunk: under_test.MakeChunk) -> None:
    under_test.minutes_are_counted_from_the_opening_hour(on_pool, make_chunk)
