"""What models read of users and of the day, on DuckDB."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import enriched_chunk

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.warehouse import session_sample
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics.warehouse.user_slices import UserSlice
from usage_analytics_tests.warehouse import readings_under_test as under_test


@pytest.fixture
def make_chunk(memory_path: Path) -> Callable[[str, list[dict[str, Any]]], EnrichedChunk]:
    return lambda window, events: enriched_chunk(memory_path, window, 0, 0, events)


def test_sampled_sessions_are_whole_and_in_order(
    warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk, tmp_path: Path
) -> None:
    under_test.sampled_sessions_are_whole_and_in_order(warehouse, make_chunk, tmp_path)


def test_a_sample_has_whole_users(warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk) -> None:
    under_test.a_sample_has_whole_users_and_about_as_many_events(warehouse, make_chunk)


def test_what_a_script_does_all_day_is_cut(
    warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_sample, "MOST_PER_USER", 2)
    under_test.load(warehouse, make_chunk, [under_test.event(5, minute, "news") for minute in range(9)])
    sampled = session_sample.sampled_sessions(warehouse, under_test.DAYS[2], UserSlice())
    assert sampled.get_column("mini_apps").to_list() == [["news", "news"]]


@pytest.mark.parametrize(
    ("wanted", "all_", "bound"), [(5, 5, None), (1, 2, "8000"), (1, 4, "4000"), (1, 10**9, "0001")]
)
def test_of_a_sample_only_fewer_users_are_taken(wanted: int, all_: int, bound: str | None) -> None:
    everyone, half = UserSlice(), session_sample.share_of_users(UserSlice(), 1, 2)
    assert session_sample.share_of_users(everyone, wanted, all_).values.get("sampled") == bound
    assert session_sample.share_of_users(half, wanted, all_).values["sampled"] == min(bound or "8000", "8000")


def test_visits_are_those_of_the_last_trading_days(
    warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk
) -> None:
    under_test.visits_are_those_of_the_last_trading_days(warehouse, make_chunk)


def test_minutes_are_counted_from_the_opening_hour(
    warehouse: DuckDBWarehouse, make_chunk: under_test.MakeChunk
) -> None:
    under_test.minutes_are_counted_from_the_opening_hour(warehouse, make_chunk)
