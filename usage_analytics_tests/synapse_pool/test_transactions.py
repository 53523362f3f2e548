"""Transactions as a dedicated pool has them."""

from __future__ import annotations

from typing import Any

import pytest

from usage_analytics_tests.synapse_pool.conftest import Connect
from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC, Pool

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)
TABLE = "CREATE TABLE s.t (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
DDL = [
    "CREATE TABLE s.u (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)",
    "CREATE TABLE #u (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)",
    "CREATE TABLE s.u WITH (DISTRIBUTION = ROUND_ROBIN, HEAP) AS SELECT a FROM s.t",
    "DROP TABLE s.t",
    "IF OBJECT_ID(N's.t', 'U') IS NOT NULL DROP TABLE s.t",
    "TRUNCATE TABLE s.t",
    "RENAME OBJECT s.t TO u",
    "CREATE VIEW s.v AS SELECT a FROM s.t",
    "ALTER TABLE s.t ADD b int NULL",
    "UPDATE STATISTICS s.t",
]


@pytest.fixture
def table(cursor: Any) -> Any:
    cursor.execute(TABLE)
    return cursor


def found(cursor: Any) -> list[int]:
    return [row[0] for row in cursor.execute("SELECT a FROM s.t ORDER BY a").fetchall()]


def test_others_see_what_is_committed_and_never_what_is_rolled_back(table: Any, connect: Connect) -> None:
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO s.t (a) SELECT 1")
    writer.execute("INSERT INTO s.t (a) SELECT ?", 2)
    assert found(table) == []
    writer.commit()
    assert found(table) == [1, 2]
    writer.execute("DELETE FROM s.t")
    writer.rollback()
    assert found(table) == [1, 2]


def test_a_transaction_may_be_written_in_t_sql(table: Any) -> None:
    table.execute("BEGIN TRANSACTION")
    table.execute("INSERT INTO s.t (a) SELECT 1")
    table.execute("ROLLBACK TRANSACTION")
    table.execute("BEGIN TRANSACTION; INSERT INTO s.t (a) SELECT 2; COMMIT")
    assert found(table) == [2]


@pytest.mark.parametrize("statement", DDL, ids=lambda sql: sql[:30])
def test_ddl_in_a_transaction_is_refused_and_ends_it(table: Any, connect: Connect, statement: str) -> None:
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO s.t (a) SELECT 1")
    with pytest.raises(pyodbc.Error, match="111212;Operation cannot be performed within a transaction"):
        writer.execute(statement)
    with pytest.raises(pyodbc.Error, match="111214;An attempt to complete a transaction has failed"):
        writer.commit()
    assert found(table) == []


@pytest.mark.parametrize("word", ["COMMIT", "ROLLBACK"])
def test_there_is_nothing_to_end_without_a_transaction(table: Any, word: str) -> None:
    with pytest.raises(pyodbc.Error, match="111214"):
        table.execute(word)
    table.execute(f"IF @@TRANCOUNT > 0 {word}")


def test_after_an_error_only_rollback_is_left(table: Any, connect: Connect) -> None:
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO s.t (a) SELECT 1")
    with pytest.raises(pyodbc.Error, match=r"Invalid object name 's\.nowhere'"):
        writer.execute("SELECT a FROM s.nowhere")
    with pytest.raises(pyodbc.Error, match="111233;The current transaction has aborted"):
        writer.execute("INSERT INTO s.t (a) SELECT 2")
    assert found(table) == []


def test_a_lost_connection_rolls_its_transaction_back(table: Any, connect: Connect, synapse_pool: Pool) -> None:
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO s.t (a) SELECT 1")
    synapse_pool.cut_connections(except_session=51)
    with pytest.raises(pyodbc.Error):
        writer.execute("SELECT 1")
    assert found(table) == []


def test_two_sessions_work_at_once(table: Any, connect: Connect) -> None:
    first, second = connect(autocommit=False), connect(autocommit=False)
    first.execute("INSERT INTO s.t (a) SELECT 1")
    second.execute("INSERT INTO s.t (a) SELECT 2")
    first.commit()
    second.commit()
    assert found(table) == [1, 2]


def test_two_sessions_that_change_one_row_do_not_both_succeed(table: Any, connect: Connect) -> None:
    table.execute("INSERT INTO s.t (a) SELECT 1")
    first, second = connect(autocommit=False), connect(autocommit=False)
    first.execute("UPDATE s.t SET a = 2")
    with pytest.raises(pyodbc.Error, match=r"deadlocked.*\(1205\)"):
        second.execute("UPDATE s.t SET a = 3")
    second.rollback()
    first.commit()
    assert found(table) == [2]


def test_a_session_that_ends_takes_its_transaction_and_temporary_tables_along(table: Any, connect: Connect) -> None:
    writer = connect()
    writer.execute("CREATE TABLE #u (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
    writer.execute("BEGIN TRANSACTION")
    writer.execute("INSERT INTO s.t (a) SELECT 1")
    writer.close()
    assert found(table) == []
    with pytest.raises(pyodbc.Error, match="Invalid object name '#u'"):
        connect().execute("SELECT a FROM #u")
