"""A session of the pool: its transaction, its temporary tables, its prepared statements, and what it does with each."""

from __future__ import annotations

import itertools
import logging
import re
from typing import TYPE_CHECKING, Any

import duckdb

from usage_analytics_tests.synapse_pool import commands
from usage_analytics_tests.synapse_pool.calls import Call
from usage_analytics_tests.synapse_pool.catalog import Catalog, show
from usage_analytics_tests.synapse_pool.errors import (
    ABORTED,
    IN_TRANSACTION,
    NO_PROCEDURE,
    NO_TRANSACTION,
    Dropped,
    Refused,
    of_transaction,
    told,
)
from usage_analytics_tests.synapse_pool.faults import Statement
from usage_analytics_tests.synapse_pool.results import NOTHING, Result
from usage_analytics_tests.synapse_pool.translating import Parameter, Parameters, translated, with_functions
from usage_analytics_tests.synapse_pool.values import sql_type, type_of_result
from usage_analytics_tests.synapse_pool.words import Name, name_in, parts, statements_of

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.pool import Pool

log = logging.getLogger(__name__)
NO_WORK = re.compile(r"^\s*(SET|DBCC|PRINT|GRANT)\b", re.I)
TRANSACTION = re.compile(
    r"^\s*(?:IF\s+@@TRANCOUNT\s*>\s*0\s+)?(BEGIN|COMMIT|ROLLBACK)(?:\s+TRAN(?:SACTION)?|\s+WORK)?\s*$", re.I
)
STARTS_NO_TRANSACTION = re.compile(r"^\s*(SET|IF\s+@@TRANCOUNT)\b", re.I)


class Session:
    """One client's session; its methods are called by one thread."""

    def __init__(self, pool: Pool, number: int) -> None:
        self.pool, self.number = pool, number
        self.cursor = pool.connect()
        self.temporary = Catalog()
        self.in_transaction = self.failed = self.implicit = False
        self._prepared: dict[int, tuple[str, str]] = {}
        self._handles = itertools.count(1)

    def close(self) -> None:
        """Roll back what is open; temporary tables are gone with the cursor."""
        self.cursor.close()

    def catalog(self, name: Name) -> Catalog:
        return self.temporary if name.is_temporary else self.pool.catalog

    def batch(self, sql: str) -> list[Result]:
        """The results of a batch's statements."""
        return [self.statement(each, {}) for each in statements_of(sql)]

    def call(self, call: Call) -> tuple[list[Result], int | None]:
        """The results of a procedure that runs statements, and the handle of what it prepared."""
        given = call.arguments
        match call.procedure.lower():
            case "sp_executesql":
                return self._run(given[0], given[1] if len(given) > 1 else "", given[2:]), None
            case "sp_prepexec":
                handle = self._prepare(given[1], given[2])
                return self._run(given[2], given[1], given[3:]), handle
            case "sp_prepare":
                return [], self._prepare(given[1], given[2])
            case "sp_execute":
                declared, sql = self._prepared[given[0]]
                return self._run(sql, declared, given[1:]), None
            case "sp_unprepare":
                self._prepared.pop(given[0], None)
                return [], None
        raise Refused(NO_PROCEDURE, f"Could not find stored procedure '{call.procedure}'.")

    def _prepare(self, declared: str | None, sql: str) -> int:
        handle = next(self._handles)
        self._prepared[handle] = (declared or "", sql)
        return handle

    def _run(self, sql: str, declared: str | None, values: list[Any]) -> list[Result]:
        parameters: dict[str, Parameter] = {}
        for text, value in zip(parts(declared or ""), values, strict=False):
            name, _, kind = text.partition(" ")
            parameters[name.lstrip("@").upper()] = Parameter(value, sql_type(kind))
        return [self.statement(each, parameters) for each in statements_of(sql)]

    def statement(self, sql: str, parameters: Parameters) -> Result:
        """Carry out one statement as the pool would, among the harm that a test has planned for it."""
        control = TRANSACTION.match(sql)
        text = {"BEGIN": "BEGIN TRANSACTION"}.get(control[1].upper(), control[1].upper()) if control else sql
        statement = Statement(text, self.number, tuple(parameter.value for parameter in parameters.values()))
        self.pool.statements.append(statement)
        try:
            with self.pool.faults.around(statement):
                return self._transact(sql, control[1].upper()) if control else self._answer(sql, parameters)
        except Dropped:
            raise
        except Refused as refused:
            raise self._failed_by(refused) from refused.__cause__
        except duckdb.Error as error:
            raise self._failed_by(told(error, sql)) from error
        except Exception as error:
            log.exception("the pool of the tests failed at: %s", sql)
            raise self._failed_by(Refused(50000, f"The pool of the tests failed itself: {error!r}")) from error

    def _answer(self, sql: str, parameters: Parameters) -> Result:
        if probe := self.pool.probes(sql):
            return probe
        if sql.upper().startswith("SET IMPLICIT_TRANSACTIONS"):
            self.implicit = sql.upper().rstrip().endswith("ON")
        if NO_WORK.match(sql):
            return NOTHING
        self.pool.judge(sql)
        if self.failed:
            self._end("ROLLBACK")
            raise of_transaction(
                ABORTED, "The current transaction has aborted, and any pending changes have been rolled back."
            )
        if self.implicit and not self.in_transaction and not STARTS_NO_TRANSACTION.match(sql):
            self._begin()
        return commands.carry_out(self, sql, parameters)

    def _transact(self, sql: str, word: str) -> Result:
        if word == "BEGIN":
            if self.in_transaction:
                raise Refused(111213, "111213;Nested transactions are not supported.")
            self._begin()
        elif not self.in_transaction:
            if sql.lstrip().upper().startswith("IF"):
                return NOTHING
            raise of_transaction(
                NO_TRANSACTION,
                "An attempt to complete a transaction has failed. No corresponding transaction found.",
            )
        elif word == "COMMIT" and self.failed:
            self._end("ROLLBACK")
            raise of_transaction(
                ABORTED, "The current transaction has aborted, and any pending changes have been rolled back."
            )
        else:
            self._end(word)
        return NOTHING

    def _begin(self) -> None:
        self.cursor.execute("BEGIN TRANSACTION")
        self.in_transaction, self.failed = True, False

    def _end(self, word: str) -> None:
        self.in_transaction = self.failed = False
        self.cursor.execute(word)

    def _failed_by(self, refused: Refused) -> Refused:
        """What is left of a transaction after an error: nothing after DDL, and nothing but ROLLBACK after any other."""
        if self.in_transaction and refused.number == IN_TRANSACTION:
            self._end("ROLLBACK")
        elif self.in_transaction:
            self.failed = True
        return refused

    def refuse_in_transaction(self) -> None:
        """DDL has to be alone."""
        if self.in_transaction:
            raise of_transaction(IN_TRANSACTION, "Operation cannot be performed within a transaction.")

    def query(self, sql: str, parameters: Parameters) -> Result:
        """The result of a SELECT, or of a change of rows."""
        said = translated(self.with_functions(sql), parameters)
        if said.reads_catalog:
            show(self.pool.catalog, self.cursor, self.pool.schemas())
        self.cursor.execute(said.sql, said.parameters)
        described = self.cursor.description or []
        rows = self.cursor.fetchall()
        if [column[0] for column in described] == ["Count"] and not re.match(r"\s*(SELECT|WITH)\b", sql, re.I):
            return Result(count=int(rows[0][0]) if rows else 0)
        names = ("" if place in said.unnamed else column[0] for place, column in enumerate(described))
        columns = tuple((name, type_of_result(str(c[1]))) for name, c in zip(names, described, strict=True))
        return Result(columns, rows, len(rows))

    def with_functions(self, sql: str) -> str:
        def object_id(given: list[str]) -> int | None:
            name = name_in(given[0])
            return self.catalog(name).object_id(name, given[1] if len(given) > 1 else None)

        def schema_id(given: list[str]) -> int | None:
            return 1 if given[0].lower() in [schema.lower() for schema in self.pool.schemas()] else None

        return with_functions(
            sql,
            {
                "OBJECT_ID": object_id, "SCHEMA_ID": schema_id, "DB_NAME": lambda given: "pool",
                "@@TRANCOUNT": lambda given: int(self.in_transaction), "@@SPID": lambda given: self.number,
                "SCHEMA_NAME": lambda given: "dbo",
                "XACT_STATE": lambda given: -2 if self.failed else int(self.in_transaction),
            },
        )  # fmt: skip

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """What DuckDB answers to a statement of its own."""
        return list(self.cursor.execute(sql).fetchall())

    def columns_of(self, select: str, parameters: dict[str, Any] | None = None) -> list[tuple[str, str]]:
        """Names and DuckDB's types of a query's columns."""
        return [(row[0], row[1]) for row in self.cursor.execute(f"DESCRIBE {select}", parameters or {}).fetchall()]
