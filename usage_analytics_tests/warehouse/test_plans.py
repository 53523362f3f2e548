"""The preload plan in the embedded warehouse."""

from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.warehouse import plans_under_test


def test_replacing_a_plan_replaces_one_day(warehouse: DuckDBWarehouse) -> None:
    plans_under_test.a_plan_replaces_that_of_its_day(warehouse)


def test_contexts_that_promise_too_much_or_what_is_open_are_faulty(warehouse: DuckDBWarehouse) -> None:
    plans_under_test.contexts_that_promise_too_much_or_what_is_open_are_faulty(warehouse)
