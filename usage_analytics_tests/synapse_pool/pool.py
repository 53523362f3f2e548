"""A dedicated SQL pool on this machine: Microsoft's driver connects to it by TLS, DuckDB keeps its rows.

It proves what a client sends and in which order, transactions, retries and loads. Not proved by it: the pool's planner,
its permissions, its locks (two sessions that change one row: the second is refused, not made to wait), that by default
others see what is not committed yet (here never), and types of expressions beyond what DuckDB says. pyodbc's
fast_executemany hangs: it holds the interpreter while it waits for a server that runs in the same process.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from usage_analytics_tests.synapse_pool.catalog import Catalog
from usage_analytics_tests.synapse_pool.errors import SYNTAX, Refused
from usage_analytics_tests.synapse_pool.faults import Faults, Harm, Statement
from usage_analytics_tests.synapse_pool.probes import answer_to_probe
from usage_analytics_tests.synapse_pool.results import Result
from usage_analytics_tests.tsql import script_dom

LAKE = "https://testlake.dfs.core.windows.net/lake"
USER, PASSWORD = "loader", "Loader-12345"
NEEDS_PYODBC = "a pool of the tests needs pyodbc, and unixODBC for it (Debian: apt-get install unixodbc)"
JUDGING = threading.Lock()  # .NET is started by the first statement, once
BUILT_IN = ("information_schema", "pg_catalog", "main")


class Pool:
    """A pool that runs; ``statements``: all that it received, in order; ``labels``: of OPTION (LABEL = ...)."""

    def __init__(self, lake_folder: Path, lake_address: str = LAKE) -> None:
        self.lake_folder, self.lake_address = lake_folder, lake_address
        self.statements: list[Statement] = []
        self.labels: list[str] = []
        self.catalog, self.faults = Catalog(), Faults()
        self.connection_string = ""
        self._cut: Callable[[int | None], None] = lambda spared: None
        self._numbers = itertools.count(51)
        self._database = duckdb.connect(config={"threads": 2})
        self._database.execute(f"CREATE SCHEMA dbo; {_macros()}")

    @property
    def certificate(self) -> Any:
        return _certificate()

    @property
    def logins(self) -> Any:
        from pysqlbridge.logins import Login, LoginStore

        return LoginStore([Login(USER, PASSWORD, False)])

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A cursor of DuckDB that sees the tables from outside; each session has one too."""
        cursor = self._database.cursor()
        # Whole numbers are divided as T-SQL does it; a table without a schema is dbo's.
        cursor.execute("SET integer_division = true; SET search_path = 'dbo,main'")
        return cursor

    def schemas(self) -> list[str]:
        query = "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal AND database_name = current_database()"
        return [row[0] for row in self._database.cursor().execute(query).fetchall() if row[0] not in BUILT_IN]

    def before(self, matches: Callable[[Statement], bool] | str, harm: Harm, times: int = 1) -> None:
        """Do harm at statements that match, or whose text begins so; at so many, the next ones first."""
        self.faults.plan(matches, harm, times)

    def texts(self, begins: str = "") -> list[str]:
        """The texts of the statements received that begin so, in whatever case."""
        return [one.text for one in self.statements if one.text.upper().startswith(begins.upper())]

    def cut_connections(self, except_session: int | None = None) -> None:
        """Lose all connections, or all but that of one session."""
        self._cut(except_session)

    def judge(self, sql: str) -> None:
        """`Refused` (103010) for what is no T-SQL of a pool, where Microsoft's parser is installed."""
        if found := faults_of(sql):
            raise Refused(SYNTAX, f"Parse error at {'; '.join(found)}")

    def probes(self, sql: str) -> Result | None:
        return answer_to_probe(sql)

    def new_session(self) -> Any:
        from usage_analytics_tests.synapse_pool.sessions import Session

        return Session(self, next(self._numbers))

    def close(self) -> None:
        self._database.close()


@functools.cache
def faults_of(sql: str) -> tuple[str, ...]:
    """What the judge finds in a statement; nothing where it is not installed."""
    if script_dom.missing():
        return ()
    from usage_analytics_tests.tsql.judging import faults

    with JUDGING:
        return tuple(str(fault) for fault in faults(sql))


def _macros() -> str:
    from usage_analytics_tests.synapse_pool.meaning import MACROS

    return MACROS


@functools.cache
def _certificate() -> Any:
    from pysqlbridge.certificate import self_signed

    return self_signed()


def missing() -> str:
    """What to install before a pool can run; empty if nothing."""
    absent = [n for n in ("pysqlbridge", "mssql_python_odbc", "sqlglot") if importlib.util.find_spec(n) is None]
    if absent:
        return f"a pool of the tests needs {', '.join(absent)}: make test installs them"
    try:
        import pyodbc  # noqa: F401
    except ImportError as error:
        return f"{NEEDS_PYODBC}: {error}"
    return "" if _drivers() else f"Microsoft's ODBC driver has no build for {platform.machine()} here"


def _drivers() -> list[Path]:
    found = importlib.util.find_spec("mssql_python_odbc")
    assert found is not None and found.submodule_search_locations
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    folder = Path(found.submodule_search_locations[0]) / "libs/linux/debian_ubuntu" / machine / "lib"
    return sorted(folder.glob("libmsodbcsql-18*"))


@contextmanager
def running_pool(lake_folder: Path, lake_address: str = LAKE) -> Iterator[Pool]:
    """A pool whose COPY INTO finds the files of a folder at an address of a storage account."""
    from usage_analytics_tests.synapse_pool.wire import Listener

    pool = Pool(lake_folder, lake_address)
    with Listener(pool) as listener:
        pool.connection_string = (
            f"DRIVER={{{_drivers()[0]}}};SERVER=tcp:127.0.0.1,{listener.server_address[1]};DATABASE=pool;UID={USER};"
            f"PWD={PASSWORD};Encrypt=yes;TrustServerCertificate=yes;LongAsMax=yes"
        )
        pool._cut = listener.cut_all
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield pool
        finally:
            listener.cut_all(None)
            listener.shutdown()
            thread.join()
    pool.close()
