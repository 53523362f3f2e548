"""Sessions that begin at one moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC, Pool

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)


def test_many_sessions_write_at_once(synapse_pool: Pool) -> None:
    def session(number: int) -> None:
        with pyodbc.connect(synapse_pool.connection_string, autocommit=True, timeout=20) as connection:
            cursor = connection.cursor()
            cursor.execute(f"CREATE TABLE dbo.t{number} (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
            for value in range(4):
                cursor.execute(f"INSERT INTO dbo.t{number} (a) SELECT ?", value)
                cursor.execute("INSERT INTO dbo.t (a) SELECT ?", value)
            cursor.close()
        connection.close()

    synapse_pool.connect().execute("CREATE TABLE dbo.t (a INTEGER)")
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(session, range(3)))
    assert synapse_pool.connect().execute("SELECT count(*) FROM dbo.t").fetchall() == [(12,)]
    assert len(synapse_pool.texts("CREATE TABLE")) == 3
