"""What Microsoft's parser and the deny list refuse, the pool refuses: DuckDB would take much of it."""

from __future__ import annotations

from typing import Any

import pytest

from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC
from usage_analytics_tests.tsql import script_dom

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(script_dom.missing()), reason=script_dom.missing())


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT k FROM s.t LIMIT 1", "Incorrect syntax near LIMIT"),
        ("INSERT INTO s.t (k) VALUES (1), (2)", "INSERT with several rows of VALUES is not supported"),
        ("DROP TABLE IF EXISTS s.t", "DROP TABLE IF EXISTS is not supported"),
        ("IF SCHEMA_ID('more') IS NULL CREATE SCHEMA more", "Incorrect syntax near CREATE"),
        ("CREATE TABLE s.u (k int NULL)", "leaves the distribution to chance"),
        ("COPY INTO s.t FROM 'https://x.dfs.core.windows.net/1' WITH (FILETYPE = 'PARQUET')", "FILETYPE is no option"),
    ],
)
def test_bad_statements_are_refused_and_change_nothing(cursor: Any, statement: str, why: str) -> None:
    cursor.execute("CREATE TABLE s.t (k int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
    with pytest.raises(pyodbc.Error, match=rf"{why}.*\(103010\)"):
        cursor.execute(statement)
    assert cursor.execute("SELECT k FROM s.t").fetchall() == []


def test_a_bad_statement_with_parameters_is_refused_too(cursor: Any) -> None:
    cursor.execute("CREATE TABLE s.t (k int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
    with pytest.raises(pyodbc.Error, match=r"OFFSET and FETCH is not supported.*\(103010\)"):
        cursor.execute("SELECT k FROM s.t WHERE k = ? ORDER BY k OFFSET 1 ROWS FETCH NEXT 1 ROWS ONLY", 1)
