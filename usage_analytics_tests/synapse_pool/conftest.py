"""Connections to a pool, closed before it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool

Connect = Callable[..., Any]


@pytest.fixture
def connect(synapse_pool: Pool) -> Iterator[Connect]:
    """Opens connections of pyodbc."""
    import pyodbc

    opened: list[Any] = []

    def open_one(autocommit: bool = True) -> Any:
        opened.append(pyodbc.connect(synapse_pool.connection_string, autocommit=autocommit, timeout=10))
        return opened[-1]

    yield open_one
    for connection in opened:
        with suppress(pyodbc.Error):  # of those that the test has closed or lost
            connection.close()


@pytest.fixture
def cursor(connect: Connect) -> Any:
    """A cursor that commits by itself, and a schema s."""
    cursor = connect().cursor()
    cursor.execute("CREATE SCHEMA s")
    return cursor
