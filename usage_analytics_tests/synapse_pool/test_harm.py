"""Harm that is planned for a statement is done there: this is what tests of recovery stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from usage_analytics_tests.synapse_pool.conftest import Connect
from usage_analytics_tests.synapse_pool.faults import DROP_AFTER, DROP_BEFORE, Harm, Statement, calls, fails
from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC, Pool

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)


@pytest.fixture
def table(cursor: Any) -> Any:
    cursor.execute("CREATE TABLE s.t (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
    return cursor


def found(pool: Pool) -> list[int]:
    return [row[0] for row in pool.connect().execute("SELECT a FROM s.t ORDER BY a").fetchall()]


@pytest.mark.parametrize(("harm", "rows"), [(DROP_BEFORE, []), (DROP_AFTER, [1])])
def test_a_connection_is_lost_at_commit(
    table: Any, connect: Connect, synapse_pool: Pool, harm: Harm, rows: list[int]
) -> None:
    synapse_pool.before("COMMIT", harm)
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO s.t (a) SELECT 1")
    with pytest.raises(pyodbc.Error, match=r"Communication link failure|08S01|08007"):
        writer.commit()
    assert found(synapse_pool) == rows
    again = connect(autocommit=False)
    again.execute("INSERT INTO s.t (a) SELECT 2")
    again.commit()
    assert found(synapse_pool) == [*rows, 2]


@pytest.mark.parametrize(("harm", "rows"), [(DROP_BEFORE, []), (DROP_AFTER, [1])])
def test_a_connection_is_lost_at_a_statement(table: Any, synapse_pool: Pool, harm: Harm, rows: list[int]) -> None:
    synapse_pool.before("insert into s.t", harm)
    with pytest.raises(pyodbc.Error, match="08S01"):
        table.execute("INSERT INTO s.t (a) SELECT ?", 1)
    assert found(synapse_pool) == rows


def test_a_statement_fails_with_a_number(table: Any, synapse_pool: Pool) -> None:
    synapse_pool.before(lambda statement: statement.parameters == (2,), fails(10928, "Resource ID: 1."))
    table.execute("INSERT INTO s.t (a) SELECT ?", 1)
    with pytest.raises(pyodbc.Error, match=r"Resource ID: 1\..*\(10928\)"):
        table.execute("INSERT INTO s.t (a) SELECT ?", 2)
    table.execute("INSERT INTO s.t (a) SELECT ?", 2)
    assert found(synapse_pool) == [1, 2]


def test_harm_is_done_as_often_as_planned(table: Any, synapse_pool: Pool) -> None:
    synapse_pool.before("INSERT", fails(1205), times=2)
    for _ in range(2):
        with pytest.raises(pyodbc.Error, match="1205"):
            table.execute("INSERT INTO s.t (a) SELECT 1")
    table.execute("INSERT INTO s.t (a) SELECT 1")


def test_something_happens_just_before_a_statement(table: Any, connect: Connect, synapse_pool: Pool) -> None:
    def another(statement: Statement) -> None:
        synapse_pool.connect().execute("INSERT INTO s.t VALUES (5)")

    synapse_pool.before("DELETE", calls(another))
    assert table.execute("DELETE FROM s.t").rowcount == 1


def test_a_load_is_cut_off(table: Any, tmp_path: Path, synapse_pool: Pool) -> None:
    synapse_pool.before("COPY INTO", DROP_BEFORE)
    with pytest.raises(pyodbc.Error, match="08S01"):
        table.execute("COPY INTO s.t FROM 'https://testlake.dfs.core.windows.net/lake/x' WITH (FILE_TYPE = 'PARQUET')")
    assert found(synapse_pool) == []


def test_every_statement_is_kept_in_order_with_its_session(table: Any, connect: Connect, synapse_pool: Pool) -> None:
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO s.t (a) SELECT ?", 1)
    writer.commit()
    sent = synapse_pool.statements[-3:]
    assert [one.text for one in sent] == ["BEGIN TRANSACTION", "INSERT INTO s.t (a) SELECT @P1", "COMMIT"]
    assert {one.session for one in sent} == {52}
    assert synapse_pool.texts("insert") == ["INSERT INTO s.t (a) SELECT @P1"]
