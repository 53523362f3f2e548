"""Friction of several trading days, in a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes import enriched_chunk

from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse import friction_under_test

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool


def test_friction_adds_up_over_the_last_trading_days(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    friction_under_test.friction_adds_up_over_the_last_trading_days(
        on_pool,
        lambda window, events: enriched_chunk(synapse_pool.lake_folder, window, 0, 0, events, compression="snappy"),
    )


def test_an_absurd_measurement_among_a_thousand_moves_nothing(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    friction_under_test.an_absurd_measurement_among_a_thousand_moves_nothing(
        on_pool,
        lambda window, events: enriched_chunk(synapse_pool.lake_folder, window, 0, 0, events, compression="snappy"),
    )
