"""Rows through Microsoft's driver: types, parameters, temporary tables, several sessions."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from usage_analytics_tests.synapse_pool.conftest import Connect
from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC, Pool

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)
COLUMNS = "w bigint NULL, i int NULL, f float NULL, d date NULL, t nvarchar(5) NULL, n decimal(38, 0) NULL"
TYPED = f"CREATE TABLE s.typed (k int NOT NULL, {COLUMNS}) WITH (DISTRIBUTION = HASH(k), HEAP)"
INSERT = "INSERT INTO s.typed (k, w, i, f, d, t, n) VALUES (?, ?, ?, ?, ?, ?, ?)"
FULL = (1, 2**62, -(2**31), 0.1, date(2026, 11, 25), "ä€𝄞", Decimal(10**38 - 1))
LOWEST = (2, -(2**63), 2**31 - 1, -1e300, date(1, 1, 1), "", Decimal(-(10**38) + 1))
EMPTY = (3, None, None, None, None, None, None)


@pytest.fixture
def cursor(connect: Connect) -> Any:
    cursor = connect().cursor()
    cursor.execute("CREATE SCHEMA s")
    cursor.execute(TYPED)
    return cursor


def rows(cursor: Any, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in cursor.execute(query, *parameters).fetchall()]


def test_the_driver_is_microsofts_and_the_connection_is_encrypted(connect: Connect) -> None:
    connection = connect()
    assert "msodbcsql" in connection.getinfo(pyodbc.SQL_DRIVER_NAME)


def test_a_wrong_password_is_refused(synapse_pool: Pool) -> None:
    with pytest.raises(pyodbc.Error, match="Login failed for user 'loader'"):
        pyodbc.connect(synapse_pool.connection_string.replace("PWD=", "PWD=not"), timeout=10)


def test_values_of_every_type_come_back_as_they_were_sent(cursor: Any, synapse_pool: Pool) -> None:
    for row in (FULL, LOWEST, EMPTY):
        cursor.execute(INSERT, *row)
    assert rows(cursor, "SELECT k, w, i, f, d, t, n FROM s.typed ORDER BY k") == [FULL, LOWEST, EMPTY]
    outside = synapse_pool.connect().execute("SELECT * FROM s.typed ORDER BY k").fetchall()
    assert outside == [FULL, LOWEST, EMPTY]


def test_no_rows_have_types_too(cursor: Any) -> None:
    cursor.execute("SELECT w, i, f, d, t, n FROM s.typed")
    assert [column[1] for column in cursor.description] == [int, int, float, date, str, Decimal]
    assert cursor.fetchall() == []


def test_a_float_has_53_bits(cursor: Any) -> None:
    assert rows(cursor, "SELECT CAST(? AS float) AS f, CAST(N'0.6' AS float) AS g", 0.1) == [(0.1, 0.6)]


def test_columns_have_the_names_that_they_are_given(cursor: Any) -> None:
    for query in ("SELECT k, 1, MAX(w), k + 1 AS k FROM s.typed GROUP BY k", "SELECT k, 1, 2, 3 AS k FROM s.typed"):
        cursor.execute(query)
        assert [column[0] for column in cursor.description] == ["k", "", "", "k"]


@pytest.mark.parametrize("place", range(1, 7))
def test_parameters_are_bound_by_their_types(cursor: Any, place: int) -> None:
    cursor.execute(INSERT, *FULL)
    name = "kwifdtn"[place]
    assert rows(cursor, f"SELECT {name} FROM s.typed WHERE {name} = ?", FULL[place]) == [(FULL[place],)]


def test_parameters_are_values_and_never_text(cursor: Any, synapse_pool: Pool) -> None:
    hostile = "';--"
    cursor.execute(INSERT, 1, None, None, None, None, hostile, None)
    assert rows(cursor, "SELECT t FROM s.typed WHERE t = ?", hostile) == [(hostile,)]
    sent = synapse_pool.statements[-1]
    assert (sent.text, sent.parameters) == ("SELECT t FROM s.typed WHERE t = @P1", (hostile,))


def test_a_statement_is_prepared_once_and_executed_again(cursor: Any) -> None:
    cursor.executemany(INSERT, [(k, *FULL[1:]) for k in range(50)])
    assert rows(cursor, "SELECT COUNT_BIG(*) FROM s.typed") == [(50,)]


def test_a_large_result_comes_in_many_packets(cursor: Any) -> None:
    cursor.execute(INSERT, *FULL)
    for _ in range(12):
        cursor.execute("INSERT INTO s.typed (k, t) SELECT k + 1, t FROM s.typed")
    assert len(rows(cursor, "SELECT k, t FROM s.typed")) == 4096


def test_changed_rows_are_counted(cursor: Any) -> None:
    assert cursor.execute("INSERT INTO s.typed (k) SELECT 1 UNION ALL SELECT 2").rowcount == 2
    assert cursor.execute("UPDATE s.typed SET i = 5 WHERE k = ?", 1).rowcount == 1
    assert cursor.execute("DELETE FROM s.typed").rowcount == 2


def test_numbers_are_as_wide_as_in_t_sql(cursor: Any) -> None:
    found = cursor.execute("SELECT COUNT(*) AS n, COUNT_BIG(*) AS m, 7 / 2 AS q, 7.0 / 2 AS r FROM s.typed")
    assert [column[3] for column in found.description[:2]] == [10, 19]
    assert tuple(found.fetchone()) == (0, 0, 3, 3.5)
    cursor.execute(INSERT, 1, 2**62, *EMPTY[2:])
    cursor.execute(INSERT, 2, 2**62, *EMPTY[2:])
    with pytest.raises(pyodbc.Error, match="Arithmetic overflow error converting expression to data type bigint"):
        cursor.execute("SELECT SUM(w) AS s FROM s.typed").fetchall()


def test_texts_are_compared_without_case_unless_the_column_says_so(cursor: Any) -> None:
    cursor.execute(
        "CREATE TABLE s.texts (a nvarchar(5) NULL, b nvarchar(5) COLLATE Latin1_General_100_BIN2_UTF8 NULL) "
        "WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
    )
    cursor.execute("INSERT INTO s.texts (a, b) SELECT 'X', 'X' UNION ALL SELECT 'x', 'x'")
    assert rows(cursor, "SELECT COUNT_BIG(*) FROM s.texts WHERE a = 'x'") == [(2,)]
    assert rows(cursor, "SELECT COUNT_BIG(*) FROM s.texts WHERE b = 'x'") == [(1,)]
    assert len(rows(cursor, "SELECT a FROM s.texts GROUP BY a")) == 1
    assert len(rows(cursor, "SELECT b FROM s.texts GROUP BY b")) == 2


def test_casts_to_text_cut_it(cursor: Any) -> None:
    query = (
        "SELECT CAST(12345 AS nvarchar(3)) AS a, CAST(12345 AS varchar(max)) AS b, CAST('x' AS nvarchar(9)) + '!' AS c"
    )
    assert rows(cursor, query) == [("123", "12345", "x!")]


def test_casts_to_whole_numbers_cut_the_fraction_off(cursor: Any) -> None:
    cursor.execute(INSERT, 1, 2**62 + 1, None, -1.7, None, "9", Decimal(7))
    cast = "CAST(f AS int), CAST(w AS bigint), CAST(t AS int), CAST(n AS bigint), CAST(2.5 AS smallint), CAST(i AS int)"
    assert rows(cursor, f"SELECT {cast} FROM s.typed") == [(-1, 2**62 + 1, 9, 7, 2, None)]


def test_nulls_come_first(cursor: Any) -> None:
    cursor.execute("INSERT INTO s.typed (k, i) SELECT 1, 5 UNION ALL SELECT 2, NULL")
    assert rows(cursor, "SELECT k, ROW_NUMBER() OVER (ORDER BY i) AS n FROM s.typed ORDER BY i") == [(2, 1), (1, 2)]


def test_a_text_is_no_longer_than_its_column(cursor: Any) -> None:
    cursor.execute(INSERT, 1, None, None, None, None, "12345", None)
    for text in ("123456", "1234𝄞"):  # the last character has two units of UTF-16
        with pytest.raises(pyodbc.Error, match=r"would be truncated in table 'typed', column 't'.*2628"):
            cursor.execute(INSERT, 2, None, None, None, None, text, None)


def test_a_column_that_takes_no_null_takes_none(cursor: Any) -> None:
    with pytest.raises(pyodbc.Error, match="Cannot insert the value NULL into column 'k'"):
        cursor.execute("INSERT INTO s.typed (i) SELECT 1")


def test_nothing_keeps_rows_unique(cursor: Any) -> None:
    cursor.execute(
        "CREATE TABLE s.keyed (a int NOT NULL, CONSTRAINT k PRIMARY KEY NONCLUSTERED (a) NOT ENFORCED) "
        "WITH (DISTRIBUTION = REPLICATE, HEAP)"
    )
    cursor.execute("INSERT INTO s.keyed (a) SELECT 1 UNION ALL SELECT 1")
    assert rows(cursor, "SELECT a FROM s.keyed") == [(1,), (1,)]


def test_a_temporary_table_is_a_sessions_own_and_gone_with_it(connect: Connect, cursor: Any) -> None:
    other = connect().cursor()
    create = "CREATE TABLE #t (a int NULL, b nvarchar(3) NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
    cursor.execute(create)
    cursor.execute("INSERT INTO #t (a, b) SELECT ?, ?", 1, "one")
    assert rows(cursor, "SELECT a, b FROM #t AS x") == [(1, "one")]
    with pytest.raises(pyodbc.Error, match="Invalid object name '#t'"):
        other.execute("SELECT a FROM #t")
    other.execute(create)
    assert rows(other, "SELECT a FROM #t") == []
    cursor.execute("DROP TABLE #t")
    with pytest.raises(pyodbc.Error, match="Invalid object name '#t'"):
        cursor.execute("SELECT a FROM #t")


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("SELECT a FROM s.nowhere", 208),
        ("SELECT nothing FROM s.typed", 207),
        ("DROP TABLE s.nowhere", 208),
    ],
)
def test_errors_have_the_pools_numbers(cursor: Any, statement: str, number: int) -> None:
    with pytest.raises(pyodbc.Error, match=rf"\({number}\)"):
        cursor.execute(statement)


def test_rows_are_changed_by_those_of_another_table(cursor: Any) -> None:
    cursor.execute("INSERT INTO s.typed (k, t) SELECT 1, 'a' UNION ALL SELECT 2, 'b'")
    cursor.execute("CREATE TABLE s.other (k int NOT NULL, t nvarchar(5) NULL) WITH (DISTRIBUTION = HASH(k), HEAP)")
    cursor.execute("INSERT INTO s.other (k, t) SELECT 2, 'c' UNION ALL SELECT 3, 'd'")
    joined = "FROM s.typed AS f INNER JOIN s.other AS o ON o.k = f.k"
    assert cursor.execute(f"UPDATE f SET t = o.t {joined} WHERE f.k > ?", 0).rowcount == 1
    assert rows(cursor, "SELECT k, t FROM s.typed ORDER BY k") == [(1, "a"), (2, "c")]
    merge = "MERGE s.typed AS f USING s.other AS o ON o.k = f.k WHEN MATCHED THEN UPDATE SET t = 'm' "
    cursor.execute(merge + "WHEN NOT MATCHED BY TARGET THEN INSERT (k, t) VALUES (o.k, o.t);")
    assert rows(cursor, "SELECT k, t FROM s.typed ORDER BY k") == [(1, "a"), (2, "m"), (3, "d")]
    assert cursor.execute(f"DELETE f {joined} WHERE f.k = 2").rowcount == 1
    assert cursor.execute(f"DELETE FROM f {joined}").rowcount == 1
    assert rows(cursor, "SELECT k FROM s.typed") == [(1,)]


def test_bits_and_the_time_that_it_is(cursor: Any) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    bit, none, now = cursor.execute("SELECT CAST(1 AS bit), CAST(NULL AS bit), SYSUTCDATETIME()").fetchone()
    assert (bit, none) == (True, None)
    assert before <= now <= datetime.now(UTC).replace(tzinfo=None)


def test_sums_and_averages_of_ints_are_ints(cursor: Any) -> None:
    cursor.execute("INSERT INTO s.typed (k, i, w) SELECT 1, 2147483647, 2147483647 UNION ALL SELECT 2, 2, 2")
    assert rows(cursor, "SELECT AVG(i) AS a, AVG(CAST(k AS float)) AS b, SUM(w) AS c FROM s.typed") == [
        (1073741824, 1.5, 2147483649)
    ]
    assert rows(cursor, "SELECT SUM(CASE WHEN k > ? THEN i ELSE 0 END) OVER () AS s FROM s.typed", 1) == [(2,), (2,)]
    for query in ("SELECT SUM(i) AS s FROM s.typed", "SELECT SUM(i) OVER (ORDER BY k) AS s FROM s.typed"):
        with pytest.raises(pyodbc.Error, match=r"Arithmetic overflow error.*data type int.*\(8115\)"):
            cursor.execute(query)


def test_a_cast_over_a_window_cuts_the_fraction_off(cursor: Any) -> None:
    cursor.execute("INSERT INTO s.typed (k, f) SELECT 1, 1.7 UNION ALL SELECT 2, 1.7")
    assert rows(cursor, "SELECT CAST(AVG(f) OVER () AS int) AS a FROM s.typed") == [(1,), (1,)]


def test_statements_that_are_prepared_beside_each_other_are_kept_apart(cursor: Any) -> None:
    query = "SELECT ? + {} AS a"
    one, two, three = (cursor.connection.cursor() for _ in range(3))
    one.execute(query.format(1), 1).fetchall()
    two.execute(query.format(2), 1).fetchall()
    one.close()
    assert rows(three, query.format(3), 1) == [(4,)]
    assert rows(two, query.format(2), 1) == [(3,)]
