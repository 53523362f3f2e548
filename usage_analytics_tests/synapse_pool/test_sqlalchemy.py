"""SQLAlchemy's dialect for SQL Server on the pool, set as the platform sets it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from datetime import date

import pytest
import sqlalchemy as sa

from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC, Pool

pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)
TABLE = sa.table("t", sa.column("a", sa.Integer), sa.column("b", sa.Unicode(5)), sa.column("d", sa.Date), schema="s")


@pytest.fixture
def engine(synapse_pool: Pool) -> Iterator[sa.Engine]:
    engine = sa.create_engine(
        "mssql+pyodbc:///?odbc_connect=" + urllib.parse.quote_plus(synapse_pool.connection_string),
        ignore_no_transaction_on_rollback=True,
        use_insertmanyvalues=False,
    )
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA s")
        connection.exec_driver_sql(
            "CREATE TABLE s.t (a int NULL, b nvarchar(5) NULL, d date NULL) WITH (DISTRIBUTION = HASH(a), HEAP)"
        )
    yield engine
    engine.dispose()


def test_rows_are_written_and_read(engine: sa.Engine) -> None:
    rows: list[dict[str, object]] = [{"a": 1, "b": "x", "d": date(2026, 11, 25)}, {"a": 2, "b": None, "d": None}]
    with engine.begin() as connection:
        connection.execute(TABLE.insert(), rows)
    with engine.connect() as connection:
        found = connection.execute(sa.select(TABLE).order_by(TABLE.c.a).limit(5)).mappings().all()
        assert [dict(row) for row in found] == rows
        assert connection.execute(sa.text("SELECT COUNT_BIG(*) FROM s.t WHERE a >= :least"), {"least": 2}).scalar() == 1


def test_what_fails_in_a_transaction_is_rolled_back(engine: sa.Engine) -> None:
    with (
        pytest.raises(sa.exc.ProgrammingError, match=r"Invalid object name 's\.nowhere'"),
        engine.begin() as connection,
    ):
        connection.execute(TABLE.insert(), {"a": 1, "b": "x", "d": None})
        connection.exec_driver_sql("SELECT a FROM s.nowhere")
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count_big().label("n")).select_from(TABLE)).scalar() == 0


def test_ddl_in_a_transaction_is_told(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.ProgrammingError, match="111212"), engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE s.u (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT a FROM s.t")).all() == []
