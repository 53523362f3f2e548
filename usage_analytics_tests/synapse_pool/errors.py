"""How the pool says no: the numbers that Microsoft's driver hands on, and what DuckDB's own errors become.

Numbers that Microsoft documents or that dbt and dlt met on real pools: 208, 207, 515, 2628, 2812, 4904, 8115, 35346,
103010, 111212, 111214, 111233. The others are of the right family, and nothing should hang on them.
"""

from __future__ import annotations

import re

import duckdb

UNKNOWN_TABLE, UNKNOWN_COLUMN, NULL_VALUE, TOO_LONG, OVERFLOW = 208, 207, 515, 2628, 8115
SYNTAX, IN_TRANSACTION, NO_TRANSACTION, ABORTED = 103010, 111212, 111214, 111233
LOAD_FAILED, NO_FILE = 110802, 110813
NO_PROCEDURE, DEADLOCK, EXISTS = 2812, 1205, 2714
NOT_SWITCHABLE, NOT_EMPTY, SPLIT_NOT_EMPTY = 4972, 4904, 35346


class Refused(Exception):
    """An error that the client sees, with its number."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class Dropped(Exception):
    """The connection is cut, and the client hears nothing more."""


def of_transaction(number: int, message: str) -> Refused:
    """PDW's own errors carry their number in the text too."""
    return Refused(number, f"{number};{message}")


def told(error: duckdb.Error, sql: str = "") -> Refused:
    """What the pool says where DuckDB said this to a statement."""
    text = str(error)
    if isinstance(error, duckdb.ConstraintException):
        return _broken_constraint(text)
    if isinstance(error, duckdb.CatalogException):
        if match := re.search(r"(?:Table|View|Schema)(?: with name)? \"?([\w#.]+)\"? does not exist", text):
            whole = re.search(rf"[\w#\[\]]+\.\[?{re.escape(match[1])}\b", sql, re.I)
            return Refused(UNKNOWN_TABLE, f"Invalid object name '{whole[0] if whole else match[1]}'.")
        if "already exists" in text:
            return Refused(EXISTS, f"There is already an object of that name in the database. {text}")
        return Refused(UNKNOWN_TABLE, text)
    if isinstance(error, duckdb.BinderException):
        return Refused(UNKNOWN_COLUMN, text)
    if isinstance(error, duckdb.ParserException):
        return Refused(SYNTAX, f"Parse error: {text}")
    if isinstance(error, duckdb.TransactionException) or "onflict" in text:
        return Refused(DEADLOCK, f"Transaction was deadlocked on lock resources with another process. {text}")
    if "Arithmetic overflow" in text:
        return Refused(OVERFLOW, text)
    if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException):
        return Refused(OVERFLOW, f"Arithmetic overflow or conversion error. {text}")
    return Refused(50000, text)


def _broken_constraint(text: str) -> Refused:
    if match := re.search(r"NOT NULL constraint failed: (\S+)\.(\w+)", text):
        return Refused(
            NULL_VALUE,
            f"Cannot insert the value NULL into column '{match[2]}', table '{match[1]}'; column does not allow nulls.",
        )
    column = re.search(r"length\(\(?\"?(\w+)\"?", text)
    named = f", column '{column[1]}'" if column else ""
    table = re.search(r"on table \"?([\w#]+)\"?", text)
    return Refused(
        TOO_LONG, f"String or binary data would be truncated in table '{table[1] if table else '?'}'{named}."
    )
