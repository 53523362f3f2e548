"""Where a dedicated SQL pool is, and how to connect to it by Microsoft's ODBC driver."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote, quote_plus

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError, ResourceClosedError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from usage_analytics.errors import TransientError, UserError

CONNECT_WITHIN_S = 60  # a pool that is resumed answers late
# SQLSTATEs of connections and time-outs, and errors that pass (Microsoft, "Troubleshoot transient connection errors").
PASSING_STATES = ("08", "HYT")
PASSING_ERRORS = ("40197", "40501", "40613", "49918", "49919", "49920", "10928", "10929")


@dataclass(frozen=True)
class SynapsePool:
    """A dedicated pool and the lake that it reads; without a ``login``, the managed identity of this machine is used.

    ``lake_address``: where the pool finds the files that lie in the folder ``lake`` here, an https address of the
    account's `.dfs.` end point.
    """

    server: str
    database: str
    lake: Path
    lake_address: str
    schema: str = "usage_analytics"
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    driver: str = "ODBC Driver 18 for SQL Server"
    trust_certificate: bool = False

    @property
    def odbc(self) -> str:
        """The connection string of the driver."""
        parts = {
            "DRIVER": self.driver, "SERVER": self.server, "DATABASE": self.database, "Encrypt": "yes",
            "TrustServerCertificate": "yes" if self.trust_certificate else "no",
            "LongAsMax": "yes",  # else long texts are sent as ntext, a type that the pool does not have
            "Connection Timeout": str(CONNECT_WITHIN_S), "APP": "usage_analytics",
        }  # fmt: skip
        if self.login is None:
            parts["Authentication"] = "ActiveDirectoryMsi"
        else:
            parts |= {"UID": self.login, "PWD": self.password or ""}
        return ";".join(f"{name}={_in_braces(value)}" for name, value in parts.items())

    @property
    def place(self) -> str:
        """The pool, as a person is told."""
        return f"Synapse pool {self.database} on {self.server}"

    def address(self, file: Path) -> str:
        """Where the pool finds a file of the lake."""
        inside = PurePosixPath(*file.relative_to(self.lake).parts)
        return f"{self.lake_address.rstrip('/')}/{quote(str(inside), safe='/=+')}"

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection whose statements take effect at once.

        `UserError` where the pool cannot be reached; `TransientError` where it may be later, or the connection is lost.
        """
        try:
            # The pool refuses DDL and COPY within a transaction, and rows by the list in VALUES.
            engine = create_engine(
                f"mssql+pyodbc:///?odbc_connect={quote_plus(self.odbc)}", poolclass=NullPool,
                isolation_level="AUTOCOMMIT", ignore_no_transaction_on_rollback=True, use_insertmanyvalues=False,
            )  # fmt: skip
            connection = engine.connect()
        except ImportError as error:
            raise UserError(f"Synapse needs the azure extra (pip install 'usage_analytics[azure]'): {error}") from None
        except (DBAPIError, ResourceClosedError) as error:
            why = error.orig if isinstance(error, DBAPIError) else error
            kind = TransientError if _is_passing(error) else UserError
            raise kind(f"{self.place} cannot be reached: {why}") from None
        try:
            yield connection
        except Exception as error:
            if not _is_lost(error):
                raise
            why = error.orig if isinstance(error, DBAPIError) else error
            # At a COMMIT nobody knows what came of it; whoever runs again reads the ledger.
            told = f"the connection was lost ({why}); run it again, nothing is half done"
            raise TransientError(f"{self.place}: {told}") from None
        finally:
            with suppress(SQLAlchemyError):  # of a connection that is lost
                connection.close()


def _is_passing(error: Exception) -> bool:
    if not isinstance(error, DBAPIError) or error.orig is None:
        return True  # lost while SQLAlchemy got to know the pool
    state, why = str(error.orig.args[0]), str(error.orig)
    return state.startswith(PASSING_STATES) or any(f"({number})" in why for number in PASSING_ERRORS)


def _is_lost(error: Exception) -> bool:
    import pyodbc

    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    lost = isinstance(error, pyodbc.Error) and str(error.args[0]).startswith("08")  # SQLSTATE: connection exception
    return lost or isinstance(error, ResourceClosedError)


def _in_braces(value: str) -> str:
    """A value of a connection string, whatever is in it."""
    return f"{{{value.replace('}', '}}')}}}" if any(sign in value for sign in ";{}= ") else value
