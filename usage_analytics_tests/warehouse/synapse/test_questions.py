"""Questions to a pool: queries alone, which find the platform's tables without their schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes import TOPIC

from usage_analytics.errors import UserError
from usage_analytics.warehouse.synapse.warehouse import SynapseWarehouse
from usage_analytics_tests.warehouse.synapse.on_the_pool import DAYS, WINDOWS, chunk, visible

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool


def test_a_query_is_answered(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 6)])
    question = "SELECT TOP 2 trading_day, COUNT(*) AS n FROM usage_events GROUP BY trading_day ORDER BY trading_day"
    with on_pool.answered(question) as answer:
        assert answer.read_all().to_pylist() == [{"trading_day": DAYS[0], "n": 2}, {"trading_day": DAYS[1], "n": 4}]
    with on_pool.answered("SELECT mini_app FROM usage_events WHERE 1 = 0") as answer:
        assert answer.read_all().to_pydict() == {"mini_app": []}


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("DELETE FROM usage_events", "that is no query, and questions change nothing"),
        ("SELECT 1 AS a INTO other", "that is no query, and questions change nothing"),
        ("SELECT 1; DROP TABLE load_ledger", "ask one query at a time"),
        ("SELECT * FROM nothing", "the warehouse cannot answer: "),
        ("SELECT (", "that is no T-SQL: "),
    ],
)
def test_what_is_no_query_is_not_sent(on_pool: SynapseWarehouse, synapse_pool: Pool, question: str, told: str) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 3)])
    with pytest.raises(UserError, match=f"^{told}"), on_pool.answered(question):
        pass
    assert len(visible(synapse_pool)) == 3


def columns_and_rows(warehouse: SynapseWarehouse, question: str) -> tuple[list[str], list[tuple[object, ...]]]:
    with warehouse.answered(question) as answer:
        rows = answer.read_all()
    return rows.schema.names, list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("SELECT COUNT(*) AS n FROM USAGE_Events", [(6,)]),
        ("SELECT COUNT(*) AS n FROM [Usage_Events] AS u WHERE u.kafka_offset > 3", [(2,)]),
        ("SELECT COUNT(Usage_Events.topic) AS n FROM usage_events", [(6,)]),
        ("WITH usage_events AS (SELECT 1 AS a) SELECT a FROM usage_events", [(1,)]),
        ("WITH Paths AS (SELECT 1 AS a) SELECT a FROM [paths] AS p", [(1,)]),
        ("WITH paths AS (SELECT 1 AS a), x AS (SELECT a + 1 AS a FROM PATHS) SELECT a FROM x", [(2,)]),
        ("WITH paths AS (SELECT 1 AS a) SELECT a FROM (SELECT a FROM paths) AS s", [(1,)]),
        # In itself, and in what comes before it, a name means the table.
        ("WITH usage_events AS (SELECT topic FROM usage_events) SELECT COUNT(*) AS n FROM usage_events", [(6,)]),
        (
            "WITH x AS (SELECT COUNT(*) AS n FROM usage_events), usage_events AS (SELECT 1 AS a) SELECT n FROM x",
            [(6,)],
        ),
    ],
)
def test_names_are_found_as_t_sql_finds_them(
    on_pool: SynapseWarehouse, synapse_pool: Pool, question: str, rows: list[tuple[int]]
) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 6)])
    assert columns_and_rows(on_pool, question)[1] == rows
