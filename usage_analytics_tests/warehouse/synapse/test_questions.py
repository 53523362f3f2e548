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


def test_a_question_never_changes_the_schema(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    question = "SELECT COUNT(*) AS n FROM usage_events"
    told = "^there is no schema usage_analytics in the pool yet: nothing has been loaded$"
    with pytest.raises(UserError, match=told), on_pool.answered(question):
        pass
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 3)])
    synapse_pool.connect().execute("UPDATE usage_analytics.warehouse_schema SET views = 'of before'")
    before = len(synapse_pool.statements)
    told = "^schema usage_analytics in the pool is of an earlier version of the platform: run usage-analytics status,"
    with pytest.raises(UserError, match=told), on_pool.answered(question):
        pass
    sent = {each.text.split()[0] for each in synapse_pool.statements[before:]}
    assert "SELECT" in sent and not sent & {"CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "IF"}
    with on_pool.session(), on_pool.answered(question) as answer:
        assert answer.read_all().to_pylist() == [{"n": 3}]
