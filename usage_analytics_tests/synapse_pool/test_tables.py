"""Definitions of tables, schemas and views, and what the pool then says of them."""

from __future__ import annotations

from typing import Any

import pytest

from usage_analytics_tests.synapse_pool.conftest import Connect
from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC, Pool
from usage_analytics_tests.synapse_pool.words import Name

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)
HEAP = "WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
FACT = """
CREATE TABLE s.fact (day date NOT NULL, user_id nvarchar(20) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL, n int NULL)
WITH (
    DISTRIBUTION = HASH(user_id), CLUSTERED COLUMNSTORE INDEX,
    PARTITION (day RANGE RIGHT FOR VALUES ('2026-11-24', '2026-11-25', '2026-11-23'))
)
"""


def rows(cursor: Any, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in cursor.execute(query, *parameters).fetchall()]


def test_a_tables_layout_is_kept(cursor: Any, synapse_pool: Pool) -> None:
    cursor.execute(FACT)
    layout = synapse_pool.catalog.get(Name("s", "fact"))
    assert (layout.distribution, layout.index) == ("HASH(user_id)", "CLUSTERED COLUMNSTORE INDEX")
    assert layout.partitions is not None
    assert [str(day) for day in layout.partitions.boundaries] == ["2026-11-23", "2026-11-24", "2026-11-25"]


def test_a_table_is_made_once_and_in_a_schema_that_is_there(cursor: Any) -> None:
    cursor.execute(FACT)
    with pytest.raises(pyodbc.Error, match=r"already an object named 'fact'.*\(2714\)"):
        cursor.execute(FACT)
    with pytest.raises(pyodbc.Error, match='schema name "nowhere" either does not exist'):
        cursor.execute(f"CREATE TABLE nowhere.t (a int NULL) {HEAP}")
    with pytest.raises(pyodbc.Error, match="already an object named 's'"):
        cursor.execute("CREATE SCHEMA s")


def test_a_query_becomes_a_table_with_the_types_of_its_columns(cursor: Any) -> None:
    cursor.execute(FACT)
    cursor.execute("INSERT INTO s.fact (day, user_id, n) SELECT '2026-11-24', 'u', 5")
    cursor.execute(
        f"CREATE TABLE s.copy {HEAP} AS SELECT f.user_id AS name, f.day, CAST(f.n AS bigint) AS n, SUM(f.n) AS total, "
        "COUNT_BIG(*) AS c FROM s.fact AS f GROUP BY f.user_id, f.day, f.n OPTION (LABEL = 'make')"
    )
    assert rows(cursor, "SELECT name, n, total, c FROM s.copy") == [("u", 5, 5, 1)]
    found = rows(
        cursor,
        "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, IS_NULLABLE FROM INFORMATION_SCHEMA.COLUMNS "
        "WHERE TABLE_SCHEMA = 's' AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
        "copy",
    )
    assert found[:3] == [("name", "nvarchar", 20, "NO"), ("day", "date", None, "NO"), ("n", "bigint", None, "YES")]
    assert found[3:] == [("total", "bigint", None, "YES"), ("c", "bigint", None, "YES")]


def test_a_query_with_parameters_becomes_no_table(cursor: Any) -> None:
    cursor.execute(FACT)
    with pytest.raises(pyodbc.Error, match="DDL takes no parameters"):
        cursor.execute(f"CREATE TABLE s.copy {HEAP} AS SELECT user_id FROM s.fact WHERE n = ?", 5)


def test_a_query_that_fails_leaves_no_table(cursor: Any) -> None:
    cursor.execute(FACT)
    cursor.execute("INSERT INTO s.fact (day, user_id) SELECT '2026-11-24', 'u'")
    with pytest.raises(pyodbc.Error):
        cursor.execute(f"CREATE TABLE s.copy {HEAP} AS SELECT CAST(user_id AS int) AS a FROM s.fact")
    cursor.execute(f"CREATE TABLE s.copy {HEAP} AS SELECT user_id FROM s.fact")


def test_what_is_done_if_something_is_there(cursor: Any) -> None:
    drop = "IF OBJECT_ID(N's.t', N'U') IS NOT NULL DROP TABLE s.t"
    create = f"IF OBJECT_ID('s.t') IS NULL CREATE TABLE s.t (a int NULL) {HEAP}"
    for statement in (drop, create, create, drop, drop, create):
        cursor.execute(statement)
    assert rows(cursor, "SELECT a FROM s.t") == []


def test_a_schema_is_made_by_text_behind_an_if(cursor: Any) -> None:
    for _ in range(2):
        cursor.execute("IF SCHEMA_ID('more') IS NULL EXEC('CREATE SCHEMA more')")
        cursor.execute("IF NOT EXISTS (SELECT 1 AS a FROM sys.schemas WHERE name = 'more') EXEC('CREATE SCHEMA more')")
    cursor.execute(f"CREATE TABLE more.t (a int NULL) {HEAP}")
    with pytest.raises(pyodbc.Error, match="Could not find stored procedure 'sp_who'"):
        cursor.execute("EXEC sp_who")


def test_views(cursor: Any) -> None:
    cursor.execute(f"CREATE TABLE s.t (a int NULL) {HEAP}")
    cursor.execute("INSERT INTO s.t (a) SELECT 1")
    cursor.execute("CREATE VIEW s.v AS SELECT a FROM s.t")
    assert rows(cursor, "SELECT a FROM s.v") == [(1,)]
    with pytest.raises(pyodbc.Error, match="already an object"):
        cursor.execute("CREATE VIEW s.v AS SELECT a FROM s.t")
    cursor.execute("ALTER VIEW s.v AS SELECT a + 1 AS b FROM s.t")
    assert rows(cursor, "SELECT b FROM s.v") == [(2,)]
    assert rows(cursor, "SELECT TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES ORDER BY 1") == [("BASE TABLE",), ("VIEW",)]
    cursor.execute("IF OBJECT_ID('s.v', 'V') IS NOT NULL DROP VIEW s.v")
    with pytest.raises(pyodbc.Error, match=r"Invalid object name 's\.v'"):
        cursor.execute("SELECT b FROM s.v")


def test_a_renamed_table_has_its_rows_and_layout(cursor: Any, synapse_pool: Pool) -> None:
    cursor.execute(FACT)
    cursor.execute("INSERT INTO s.fact (day, user_id) SELECT '2026-11-24', 'u'")
    cursor.execute("RENAME OBJECT s.fact TO old")
    assert rows(cursor, "SELECT user_id FROM s.old") == [("u",)]
    assert synapse_pool.catalog.get(Name("s", "old")).distribution == "HASH(user_id)"
    cursor.execute(FACT)
    with pytest.raises(pyodbc.Error, match="already an object named 'old'"):
        cursor.execute("RENAME OBJECT s.fact TO old")


def test_a_column_is_added(cursor: Any) -> None:
    cursor.execute(FACT)
    cursor.execute("INSERT INTO s.fact (day, user_id) SELECT '2026-11-24', 'u'")
    cursor.execute("ALTER TABLE s.fact ADD note nvarchar(3) NULL")
    assert rows(cursor, "SELECT user_id, note FROM s.fact") == [("u", None)]
    with pytest.raises(pyodbc.Error, match="2628"):
        cursor.execute("UPDATE s.fact SET note = 'long'")
    with pytest.raises(pyodbc.Error, match="can contain nulls"):
        cursor.execute("ALTER TABLE s.fact ADD must int NOT NULL")


def test_a_truncated_table_is_empty(cursor: Any) -> None:
    cursor.execute(f"CREATE TABLE s.t (a int NULL) {HEAP}")
    cursor.execute("INSERT INTO s.t (a) SELECT 1")
    cursor.execute("TRUNCATE TABLE s.t")
    assert rows(cursor, "SELECT a FROM s.t") == []


def test_statistics_are_remembered(cursor: Any) -> None:
    cursor.execute(FACT)
    cursor.execute("CREATE STATISTICS st_n ON s.fact (n) WITH FULLSCAN")
    cursor.execute("UPDATE STATISTICS s.fact")
    cursor.execute("UPDATE STATISTICS s.fact (st_n)")
    assert rows(cursor, "SELECT name FROM sys.stats WHERE object_id = OBJECT_ID('s.fact')") == [("st_n",)]
    with pytest.raises(pyodbc.Error, match="There are already statistics on table"):
        cursor.execute("CREATE STATISTICS st_n ON s.fact (n)")
    with pytest.raises(pyodbc.Error, match=r"There are no statistics on table 's\.fact' named 'st_m'"):
        cursor.execute("UPDATE STATISTICS s.fact (st_m)")
    with pytest.raises(pyodbc.Error, match="Invalid column name 'nothing'"):
        cursor.execute("CREATE STATISTICS st_x ON s.fact (nothing)")
    with pytest.raises(pyodbc.Error, match=r"Invalid object name 's\.nowhere'"):
        cursor.execute("UPDATE STATISTICS s.nowhere")


def test_boundaries_can_be_looked_up(cursor: Any) -> None:
    cursor.execute(FACT)
    found = rows(
        cursor,
        "SELECT CAST(v.value AS date) AS day, v.boundary_id + f.boundary_value_on_right AS partition_number "
        "FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id "
        "JOIN sys.indexes AS i ON i.object_id = t.object_id AND i.index_id <= 1 "
        "JOIN sys.partition_schemes AS p ON p.data_space_id = i.data_space_id "
        "JOIN sys.partition_functions AS f ON f.function_id = p.function_id "
        "JOIN sys.partition_range_values AS v ON v.function_id = f.function_id "
        "WHERE s.name = ? AND t.name = ? ORDER BY day",
        "s",
        "fact",
    )
    assert [(str(day), number) for day, number in found] == [("2026-11-23", 2), ("2026-11-24", 3), ("2026-11-25", 4)]


def test_the_catalog_can_be_read_in_a_transaction(cursor: Any, connect: Connect) -> None:
    cursor.execute(f"CREATE TABLE s.t (a int NULL) {HEAP}")
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO s.t (a) SELECT 1")
    assert rows(writer, "SELECT name FROM sys.tables") == [("t",)]
    writer.commit()
    assert rows(cursor, "SELECT a FROM s.t") == [(1,)]
