"""Types: T-SQL's words for them, DuckDB's, and how their values travel in TDS ([MS-TDS] 2.2.5.4 and 2.2.5.5)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal
from typing import Any

from usage_analytics_tests.synapse_pool.errors import OVERFLOW, SYNTAX, Refused

FIRST_DAY = date(1, 1, 1).toordinal()
_EXACT = Context(prec=80)
COLLATION = bytes.fromhex("0904d00034")  # SQL_Latin1_General_CP1_CI_AS
TEXTS = ("nvarchar", "varchar", "nchar", "char")
IN_DUCKDB = {
    "bigint": "BIGINT", "int": "INTEGER", "integer": "INTEGER", "smallint": "SMALLINT", "tinyint": "UTINYINT",
    "bit": "BOOLEAN", "float": "DOUBLE", "real": "FLOAT", "date": "DATE", "datetime2": "TIMESTAMP",
    "datetime": "TIMESTAMP", "time": "TIME", "varbinary": "BLOB", "uniqueidentifier": "UUID",
    **dict.fromkeys((*TEXTS, "ntext", "text"), "VARCHAR"),
}  # fmt: skip
FROM_DUCKDB = {
    "BIGINT": "bigint", "HUGEINT": "bigint", "UBIGINT": "bigint", "UINTEGER": "bigint", "INTEGER": "int",
    "SMALLINT": "smallint", "UTINYINT": "tinyint", "TINYINT": "smallint", "BOOLEAN": "bit", "DOUBLE": "float",
    "FLOAT": "real", "DATE": "date", "TIMESTAMP": "datetime2", "VARCHAR": "nvarchar", '"NULL"': "int", "NULL": "int",
}  # fmt: skip


@dataclass(frozen=True)
class SqlType:
    """A type of T-SQL; ``length``: characters of a text, -1 for (max)."""

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0

    @property
    def duckdb(self) -> str:
        if self.name == "decimal":
            return f"DECIMAL({self.precision}, {self.scale})"
        return IN_DUCKDB[self.name]

    @property
    def is_text(self) -> bool:
        return self.name in TEXTS

    def __str__(self) -> str:
        if self.name == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if self.is_text:
            return f"{self.name}({'max' if self.length < 0 else self.length})"
        return self.name


def sql_type(text: str) -> SqlType:
    """The type that a declaration such as `nvarchar(20)` names."""
    match = re.fullmatch(r"\s*\[?(\w+)\]?\s*(?:\(\s*(\w+)\s*(?:,\s*(\d+)\s*)?\))?\s*", text)
    name = match[1].lower() if match else ""
    if match is None or (name not in IN_DUCKDB and name not in ("decimal", "numeric")):
        raise Refused(SYNTAX, f"Parse error: {text} is no type that this pool knows.")
    if name in ("decimal", "numeric"):
        return SqlType("decimal", precision=int(match[2] or 18), scale=int(match[3] or 0))
    if name in TEXTS:
        length = (match[2] or "1").lower()
        return SqlType(name, length=-1 if length == "max" else int(length))
    return SqlType({"integer": "int", "ntext": "nvarchar", "text": "varchar"}.get(name, name))


def type_of_result(duckdb_type: str) -> SqlType:
    """What the pool would make of a column that DuckDB computed."""
    if match := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", duckdb_type):
        return SqlType("decimal", precision=int(match[1]), scale=int(match[2]))
    name = FROM_DUCKDB.get(duckdb_type)
    if name is None:
        raise Refused(SYNTAX, f"Parse error: a column of DuckDB's type {duckdb_type}, which no pool has.")
    return SqlType(name, length=4000 if name == "nvarchar" else 0)


def type_info(kind: SqlType) -> bytes:
    """TYPE_INFO of a column."""
    if kind.name == "decimal":
        return bytes([0x6C, 17, kind.precision, kind.scale])
    if kind.name == "nvarchar" or kind.is_text:
        size = 0xFFFF if kind.length < 0 or kind.length > 4000 else kind.length * 2
        return b"\xe7" + struct.pack("<H", size) + COLLATION
    return {
        "bigint": b"\x26\x08", "int": b"\x26\x04", "smallint": b"\x26\x02", "tinyint": b"\x26\x01", "bit": b"\x68\x01",
        "float": b"\x6d\x08", "real": b"\x6d\x04", "date": b"\x28", "datetime2": b"\x2a\x06",
    }[kind.name]  # fmt: skip


def encoder(kind: SqlType) -> Callable[[Any], bytes]:
    """From a value of Python to what a row holds."""
    if kind.is_text:
        return _chunked_text if kind.length < 0 or kind.length > 4000 else _text
    if kind.name == "decimal":
        return lambda value: _decimal(value, kind.scale)
    size = {"bigint": 8, "int": 4, "smallint": 2}
    return {
        **{name: _whole(bytes_of, name) for name, bytes_of in size.items()},
        "tinyint": lambda value: b"\x00" if value is None else bytes([1, value]),
        "bit": lambda value: b"\x00" if value is None else bytes([1, bool(value)]),
        "float": lambda value: b"\x00" if value is None else b"\x08" + struct.pack("<d", value),
        "real": lambda value: b"\x00" if value is None else b"\x04" + struct.pack("<f", value),
        "date": lambda value: b"\x00" if value is None else b"\x03" + _day(value),
        "datetime2": _instant,
    }[kind.name]


def _whole(size: int, name: str) -> Callable[[Any], bytes]:
    def encode(value: Any) -> bytes:
        if value is None:
            return b"\x00"
        try:
            return bytes([size]) + int(value).to_bytes(size, "little", signed=True)
        except OverflowError:
            raise Refused(OVERFLOW, f"Arithmetic overflow error converting expression to data type {name}.") from None

    return encode


def _text(value: Any) -> bytes:
    if value is None:
        return b"\xff\xff"
    encoded = str(value).encode("utf-16-le")
    if len(encoded) > 8000:
        raise Refused(OVERFLOW, "A text of a result is longer than nvarchar(4000).")
    return struct.pack("<H", len(encoded)) + encoded


def _chunked_text(value: Any) -> bytes:
    if value is None:
        return b"\xff" * 8
    encoded = str(value).encode("utf-16-le")
    chunk = struct.pack("<I", len(encoded)) + encoded if encoded else b""
    return struct.pack("<Q", len(encoded)) + chunk + struct.pack("<I", 0)


def _decimal(value: Any, scale: int) -> bytes:
    if value is None:
        return b"\x00"
    digits = int(Decimal(value).scaleb(scale, context=_EXACT))
    return bytes([17, digits >= 0]) + abs(digits).to_bytes(16, "little")


def _day(value: date) -> bytes:
    return (value.toordinal() - FIRST_DAY).to_bytes(3, "little")


def _instant(value: datetime | None) -> bytes:
    if value is None:
        return b"\x00"
    microseconds = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return b"\x08" + microseconds.to_bytes(5, "little") + _day(value.date())
