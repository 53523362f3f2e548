"""Questions to a pool: queries alone, which find the platform's tables without their schema."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from fakes import TOPIC

from usage_analytics.errors import UserError
from usage_analytics.warehouse.synapse import questions
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
    with warehouse.session(), warehouse.answered(question) as answer:  # a session makes the schema, a question does not
        rows = answer.read_all()
    return rows.schema.names, list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def test_columns_may_have_one_name_or_none(on_pool: SynapseWarehouse) -> None:
    asked = "SELECT 1 AS a, 2, 3 AS a, 4 + 1"
    assert columns_and_rows(on_pool, asked) == (["a", "column_2", "a", "column_4"], [(1, 2, 3, 5)])


def test_a_text_may_look_like_a_parameter(on_pool: SynapseWarehouse, synapse_pool: Pool) -> None:
    on_pool.load_window(TOPIC, WINDOWS[0], [chunk(synapse_pool, WINDOWS[0], 0, 0, 6, mini_app="a:b?%s")])
    asked = """
    SELECT COUNT(*) AS n FROM usage_events WHERE mini_app LIKE '%:b?\\%s' ESCAPE '\\' AND properties LIKE '%"a":1%'
    OR mini_app = ':b'
    """
    assert columns_and_rows(on_pool, asked) == (["n"], [(0,)])
    assert columns_and_rows(on_pool, asked.replace('":1', '": 1')) == (["n"], [(5,)])


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("bigint", "9007199254740993", 2**53 + 1),
        ("int", "7", 7),
        ("bit", "1", True),
        ("float", "'0.1'", 0.1),
        ("nvarchar(9)", "N'größe'", "größe"),
        ("nvarchar(max)", "N'a'", "a"),
        ("date", "'2026-11-23'", date(2026, 11, 23)),
        ("datetime2", "'2026-11-23T10:00:00.000001'", datetime(2026, 11, 23, 10, 0, 0, 1)),
        ("decimal(38, 0)", f"'{10**37}'", Decimal(10**37)),
        ("decimal(9, 3)", "'1.250'", Decimal("1.250")),
    ],
)
def test_a_type_is_the_columns_whatever_is_in_it(
    on_pool: SynapseWarehouse, monkeypatch: pytest.MonkeyPatch, kind: str, value: str, found: object
) -> None:
    monkeypatch.setattr(questions, "BATCH_ROWS", 1)
    asked = f"SELECT 1 AS n, CAST(NULL AS {kind}) AS a UNION ALL SELECT 2, CAST({value} AS {kind}) ORDER BY n"
    assert columns_and_rows(on_pool, asked) == (["n", "a"], [(1, None), (2, found)])
    with (
        on_pool.session(),
        on_pool.answered(f"SELECT * FROM ({asked.partition(' ORDER')[0]}) AS s WHERE n = 3") as none,
    ):
        empty = none.read_all().schema
    with on_pool.answered(asked) as two:
        assert two.read_all().schema == empty


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
