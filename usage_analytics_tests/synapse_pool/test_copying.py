"""COPY INTO from Parquet: by position, by Synapse's types, all files or none."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from usage_analytics_tests.synapse_pool.pool import LAKE, NEEDS_PYODBC, Pool

pyodbc = pytest.importorskip("pyodbc", reason=NEEDS_PYODBC, exc_type=ImportError)
OPTIONS = "WITH (FILE_TYPE = 'PARQUET', CREDENTIAL = (IDENTITY = 'Managed Identity')) OPTION (LABEL = 'load:1')"
TABLE = "CREATE TABLE s.t (a bigint NOT NULL, b nvarchar(3) NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
GOOD = {"x": pa.array([1, 2], pa.int64()), "y": pa.array(["a", None])}


@pytest.fixture
def table(cursor: Any) -> Any:
    cursor.execute(TABLE)
    return cursor


def copy(cursor: Any, *files: str, columns: str = "(a 1, b 2)") -> Any:
    addresses = ", ".join(f"'{LAKE}/{file}'" for file in files)
    return cursor.execute(f"COPY INTO s.t {columns} FROM {addresses} {OPTIONS}")


def write(path: Path, columns: dict[str, Any], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)


def found(cursor: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in cursor.execute("SELECT a, b FROM s.t ORDER BY a").fetchall()]


def test_columns_are_taken_by_position(table: Any, tmp_path: Path, synapse_pool: Pool) -> None:
    write(tmp_path / "1.parquet", {"b": pa.array(["q"]), "a": pa.array([7], pa.int64())})
    write(tmp_path / "2.parquet", {"any": pa.array(["r"]), "name": pa.array([8], pa.int64())})
    assert copy(table, "1.parquet", "2.parquet", columns="(a 2, b 1)").rowcount == 2
    assert found(table) == [(7, "q"), (8, "r")]
    assert synapse_pool.labels == ["load:1"]


def test_a_default_stands_for_null(table: Any, tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", GOOD)
    copy(table, "1.parquet", columns="(a 1, b DEFAULT 'z' 2)")
    assert found(table) == [(1, "a"), (2, "z")]


def test_a_folder_is_read_without_what_is_hidden(table: Any, tmp_path: Path) -> None:
    for name in ("day/1.parquet", "day/deeper/2.parquet", "day/_tmp/3.parquet", "day/.4.parquet"):
        write(tmp_path / name, GOOD)
    (tmp_path / "day" / "_SUCCESS").touch()
    assert copy(table, "day").rowcount == 4
    assert copy(table, "day/*.parquet").rowcount == 2


def test_every_type_of_the_platform_is_loaded(cursor: Any, tmp_path: Path) -> None:
    cursor.execute(
        "CREATE TABLE s.t (a bigint NULL, i int NULL, f float NULL, d date NULL, t nvarchar(9) NULL, "
        "n decimal(38, 0) NULL, m datetime2(6) NULL) WITH (DISTRIBUTION = HASH(a), CLUSTERED COLUMNSTORE INDEX)"
    )
    row = (2**62, -5, 0.5, date(2026, 11, 25), "ä€", Decimal(10**38 - 1), datetime(2026, 11, 25, 1, 2, 3, 4000))
    kinds = [pa.int64(), pa.int32(), pa.float64(), pa.date32(), pa.string(), pa.decimal128(38, 0), pa.timestamp("ms")]
    columns = {name: pa.array([value, None], kind) for name, value, kind in zip("aifdtnm", row, kinds, strict=True)}
    write(tmp_path / "1.parquet", columns, coerce_timestamps="ms")
    copy(cursor, "1.parquet", columns="")
    got = [tuple(each) for each in cursor.execute("SELECT * FROM s.t ORDER BY a DESC").fetchall()]
    assert got == [row, (None,) * 7]


@pytest.mark.parametrize(
    ("columns", "options", "why"),
    [
        ({"x": pa.array([1], pa.int32()), "y": GOOD["y"][:1]}, {}, "its column 'x' .* is int, and 'a' .* bigint"),
        ({"x": pa.array([datetime(2026, 1, 1)]), "y": GOOD["y"][:1]}, {}, "'x' is a Timestamp of microseconds"),
        ({"x": pa.array([1], pa.time64("us")), "y": GOOD["y"][:1]}, {}, "'x' is a Time of microseconds"),
        ({"x": pa.array([1], pa.uint64()), "y": GOOD["y"][:1]}, {}, "is decimal, and 'a' of the table bigint"),
        ({"x": GOOD["x"]}, {}, "it has 1 columns, and 'b' is to be number 2"),
        (GOOD, {"compression": "zstd"}, "it is compressed by ZSTD"),
        (GOOD, {"compression": "lz4"}, "it is compressed by LZ4"),
        ({"x": GOOD["x"], "y": pa.array(["a", "long"])}, {}, r"would be truncated in table 't', column 'b'"),
        ({"x": pa.array([1, None], pa.int64()), "y": GOOD["y"]}, {}, "Cannot insert the value NULL into column 'a'"),
    ],
)
def test_a_file_that_no_pool_reads_is_refused_with_all_the_others(
    table: Any, tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], why: str
) -> None:
    write(tmp_path / "1.parquet", GOOD)
    write(tmp_path / "2.parquet", columns, **options)
    with pytest.raises(pyodbc.Error, match=why):
        copy(table, "1.parquet", "2.parquet")
    assert found(table) == []


def test_snappy_and_gzip_are_read(table: Any, tmp_path: Path) -> None:
    for kind in ("snappy", "gzip", "none"):
        write(tmp_path / f"{kind}.parquet", GOOD, compression=kind)
    assert copy(table, "snappy.parquet", "gzip.parquet", "none.parquet").rowcount == 6


@pytest.mark.parametrize("address", ["nowhere.parquet", "../elsewhere.parquet", "empty"])
def test_a_file_that_is_not_there_is_refused(table: Any, tmp_path: Path, address: str) -> None:
    write(tmp_path / "1.parquet", GOOD)
    (tmp_path / "empty").mkdir()
    with pytest.raises(pyodbc.Error, match=f"no file at '{LAKE}/{address}'"):
        copy(table, "1.parquet", address)
    assert found(table) == []


def test_another_account_is_not_this_lake(table: Any, tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", GOOD)
    with pytest.raises(pyodbc.Error, match="no file at 'https://other"):
        table.execute(f"COPY INTO s.t FROM 'https://other.dfs.core.windows.net/lake/1.parquet' {OPTIONS}")


def test_a_copy_in_a_transaction_ends_with_it(table: Any, tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", GOOD)
    table.execute("BEGIN TRANSACTION")
    copy(table, "1.parquet")
    table.execute("ROLLBACK")
    assert found(table) == []
