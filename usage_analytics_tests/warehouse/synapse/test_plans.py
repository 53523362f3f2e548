"""The preload plan in a pool."""

from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse import plans_under_test


def test_replacing_a_plan_replaces_one_day(on_pool: SynapseWarehouse) -> None:
    plans_under_test.a_plan_replaces_that_of_its_day(on_pool)


def test_contexts_that_promise_too_much_or_what_is_open_are_faulty(on_pool: SynapseWarehouse) -> None:
    plans_under_test.contexts_that_promise_too_much_or_what_is_open_are_faulty(on_pool)
