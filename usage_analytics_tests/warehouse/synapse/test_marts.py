"""The marts of a pool equal the plain-Python oracle, whatever tier their events lie in."""

from __future__ import annotations

from pathlib import Path

import pytest
from closing import close_stale_days
from fakes import TOPIC, memory_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics_tests.warehouse.against_oracle import (
    WINDOWS,
    assert_equals_oracle,
    assert_receipts_equal_oracle,
    assert_views_equal_oracle,
    rules_of,
    windows_of,
)
from usage_analytics_tests.warehouse.event_strategies import events_and_funnels
from usage_analytics_tests.warehouse.event_tables import as_chunks
from usage_analytics_tests.warehouse.funnel_oracle import Funnel
from usage_analytics_tests.warehouse.session_oracle import Event
from usage_analytics_tests.warehouse.synapse.conftest import warehouse_on

Drawn = tuple[list[Event], list[Funnel]]


def marts_equal_the_oracle(data: st.DataObject, drawn: Drawn) -> None:
    from usage_analytics_tests.synapse_pool.pool import missing, running_pool

    if reason := missing():
        pytest.skip(reason)
    events, funnels = drawn
    rules = rules_of(funnels)
    with memory_folder() as folder, running_pool(Path(folder)) as pool:
        warehouse = warehouse_on(pool)
        chunks = as_chunks(events, Path(folder), data.draw(windows_of(events)), compression="snappy")
        for window in WINDOWS:
            warehouse.load_window(TOPIC, window, chunks.get(window, []))
            if window == WINDOWS[1]:  # what comes then, comes late
                for day in close_stale_days(warehouse, rules):
                    warehouse.close_day(day)
        assert_receipts_equal_oracle(close_stale_days(warehouse, rules), events)
        assert_equals_oracle(warehouse, events, funnels)
        assert_views_equal_oracle(warehouse, events)


@settings(max_examples=1)
@given(data=st.data(), drawn=events_and_funnels())
def test_marts_equal_the_oracle(data: st.DataObject, drawn: Drawn) -> None:
    marts_equal_the_oracle(data, drawn)


@pytest.mark.slow
@settings(max_examples=30)
@given(data=st.data(), drawn=events_and_funnels())
def test_marts_of_many_days_equal_the_oracle(data: st.DataObject, drawn: Drawn) -> None:
    marts_equal_the_oracle(data, drawn)
