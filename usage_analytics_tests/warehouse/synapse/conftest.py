"""A warehouse on a pool of this machine, through Microsoft's driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from usage_analytics.warehouse.synapse.pool import SynapsePool
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool


def warehouse_on(pool: Pool, **changes: float) -> SynapseWarehouse:
    """A warehouse whose lake is the pool's folder."""
    from usage_analytics_tests.synapse_pool.pool import PASSWORD, USER

    parts = dict(part.partition("=")[::2] for part in pool.connection_string.split(";"))
    place = SynapsePool(
        server=parts["SERVER"], database="pool", lake=pool.lake_folder, lake_address=pool.lake_address, login=USER,
        password=PASSWORD, driver=parts["DRIVER"].strip("{}"), trust_certificate=True,
    )  # fmt: skip
    return SynapseWarehouse(place, pool.lake_folder / "warehouse.lock", **changes)  # type: ignore[arg-type]


@pytest.fixture
def on_pool(synapse_pool: Pool) -> SynapseWarehouse:
    return warehouse_on(synapse_pool)
