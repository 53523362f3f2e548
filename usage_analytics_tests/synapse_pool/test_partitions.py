"""Partitions: switched in one step, split only where they are empty."""

from __future__ import annotations

from typing import Any

import pytest

from usage_analytics_tests.synapse_pool.pool import NEEDS_PYODBC

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)
COLUMNS = "day date NOT NULL, a nvarchar(5) NULL"
DAYS = "PARTITION (day RANGE RIGHT FOR VALUES ('2026-11-24', '2026-11-25'))"
OPTIONS = f"DISTRIBUTION = HASH(a), CLUSTERED COLUMNSTORE INDEX, {DAYS}"
SWITCH = "ALTER TABLE s.day SWITCH PARTITION 2 TO s.fact PARTITION 2"


def create(cursor: Any, name: str, columns: str = COLUMNS, options: str = OPTIONS) -> None:
    cursor.execute(f"CREATE TABLE s.{name} ({columns}) WITH ({options})")


def fill(cursor: Any, name: str, *rows: tuple[str, str]) -> None:
    for day, a in rows:
        cursor.execute(f"INSERT INTO s.{name} (day, a) SELECT CAST(? AS date), ?", day, a)


def found(cursor: Any, name: str) -> list[tuple[str, str]]:
    return [(str(day), a) for day, a in cursor.execute(f"SELECT day, a FROM s.{name} ORDER BY day, a").fetchall()]


@pytest.fixture
def tables(cursor: Any) -> Any:
    create(cursor, "fact")
    create(cursor, "day")
    fill(cursor, "fact", ("2026-11-23", "early"), ("2026-11-24", "old"), ("2026-11-25", "late"))
    fill(cursor, "day", ("2026-11-24", "new"), ("2026-11-23", "other"))
    return cursor


def test_a_day_replaces_a_day(tables: Any) -> None:
    tables.execute(f"{SWITCH} WITH (TRUNCATE_TARGET = ON)")
    assert found(tables, "fact") == [("2026-11-23", "early"), ("2026-11-24", "new"), ("2026-11-25", "late")]
    assert found(tables, "day") == [("2026-11-23", "other")]


def test_an_empty_day_empties_a_day(tables: Any) -> None:
    for _ in range(2):
        tables.execute(f"{SWITCH} WITH (TRUNCATE_TARGET = ON)")
    assert found(tables, "fact") == [("2026-11-23", "early"), ("2026-11-25", "late")]


def test_a_full_partition_is_not_switched_into(tables: Any) -> None:
    with pytest.raises(pyodbc.Error, match=r"Partition 2 of 's\.fact' must be empty.*\(4904\)"):
        tables.execute(SWITCH)
    tables.execute("DELETE FROM s.fact WHERE day = '2026-11-24'")
    tables.execute(SWITCH)
    assert ("2026-11-24", "new") in found(tables, "fact")


@pytest.mark.parametrize(
    ("columns", "options", "why"),
    [
        (f"{COLUMNS}, b int NULL", OPTIONS, "have 3 and 2 columns"),
        ("day date NOT NULL, b nvarchar(5) NULL", OPTIONS.replace("(a)", "(b)"), "columns 'b' and 'a' in one place"),
        ("day date NOT NULL, a nvarchar(6) NULL", OPTIONS, r"types nvarchar\(6\) and nvarchar\(5\) in column 'a'"),
        ("day date NOT NULL, a nvarchar(5) COLLATE Latin1_General_100_BIN2 NULL", OPTIONS, "in column 'a'"),
        ("day date NOT NULL, a nvarchar(5) NOT NULL", OPTIONS, "differ in the nulls of column 'a'"),
        (COLUMNS, OPTIONS.replace("HASH(a)", "ROUND_ROBIN"), r"distributed by ROUND_ROBIN and HASH\(a\)"),
        (COLUMNS, OPTIONS.replace("CLUSTERED COLUMNSTORE INDEX", "HEAP"), "have the indexes HEAP and CLUSTERED"),
        (COLUMNS, OPTIONS.replace(", '2026-11-25'", ""), "have other partition boundaries"),
    ],
)
def test_tables_that_differ_are_not_switched(cursor: Any, columns: str, options: str, why: str) -> None:
    create(cursor, "fact")
    create(cursor, "day", columns, options)
    with pytest.raises(pyodbc.Error, match=why):
        cursor.execute(f"{SWITCH} WITH (TRUNCATE_TARGET = ON)")


def test_partitions_of_different_days_are_not_switched(tables: Any) -> None:
    with pytest.raises(pyodbc.Error, match="partitions 2, 3 differ"):
        tables.execute("ALTER TABLE s.day SWITCH PARTITION 2 TO s.fact PARTITION 3 WITH (TRUNCATE_TARGET = ON)")
    with pytest.raises(pyodbc.Error, match="Invalid partition number 4"):
        tables.execute("ALTER TABLE s.day SWITCH PARTITION 4 TO s.fact PARTITION 4")


def test_only_an_empty_partition_of_a_columnstore_is_split(tables: Any) -> None:
    with pytest.raises(pyodbc.Error, match=r"partition is not empty.*35346"):
        tables.execute("ALTER TABLE s.fact SPLIT RANGE ('2026-11-26')")
    tables.execute("DELETE FROM s.fact WHERE day = '2026-11-25'")
    tables.execute("ALTER TABLE s.fact SPLIT RANGE ('2026-11-26')")
    with pytest.raises(pyodbc.Error, match="Duplicate range boundary"):
        tables.execute("ALTER TABLE s.fact SPLIT RANGE ('2026-11-26')")
    with pytest.raises(pyodbc.Error, match="other partition boundaries"):
        tables.execute(SWITCH)


def test_a_heap_is_split_with_its_rows(cursor: Any) -> None:
    create(cursor, "heap", options=OPTIONS.replace("CLUSTERED COLUMNSTORE INDEX", "HEAP"))
    fill(cursor, "heap", ("2026-11-25", "a"), ("2026-11-26", "b"))
    cursor.execute("ALTER TABLE s.heap SPLIT RANGE ('2026-11-26')")
    create(
        cursor, "other", options=OPTIONS.replace("CLUSTERED COLUMNSTORE INDEX", "HEAP").replace("')", "', '20261126')")
    )
    cursor.execute("ALTER TABLE s.heap SWITCH PARTITION 4 TO s.other PARTITION 4")
    assert (found(cursor, "heap"), found(cursor, "other")) == ([("2026-11-25", "a")], [("2026-11-26", "b")])


def test_empty_partitions_are_merged(tables: Any) -> None:
    tables.execute("TRUNCATE TABLE s.fact")
    tables.execute("ALTER TABLE s.fact MERGE RANGE ('2026-11-25')")
    with pytest.raises(pyodbc.Error, match="could not be found"):
        tables.execute("ALTER TABLE s.fact MERGE RANGE ('2026-11-25')")
