"""Which statement is carried out by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from usage_analytics_tests.synapse_pool import copying, ddl, partitions
from usage_analytics_tests.synapse_pool.errors import NO_PROCEDURE, Refused
from usage_analytics_tests.synapse_pool.results import NOTHING, Result
from usage_analytics_tests.synapse_pool.translating import Parameters, without_hints
from usage_analytics_tests.synapse_pool.words import Reader

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.sessions import Session

Command = Callable[["Session", Reader, Parameters], Result]
DEFINITIONS: dict[tuple[str, ...], Command] = {
    ("CREATE", "TABLE"): ddl.create_table,
    ("CREATE", "SCHEMA"): ddl.create_schema,
    ("CREATE", "VIEW"): ddl.create_view,
    ("ALTER", "VIEW"): ddl.alter_view,
    ("DROP", "TABLE"): ddl.drop_table,
    ("DROP", "VIEW"): ddl.drop_view,
    ("DROP", "SCHEMA"): ddl.drop_schema,
    ("TRUNCATE", "TABLE"): ddl.truncate,
    ("RENAME", "OBJECT"): ddl.rename,
    ("ALTER", "TABLE"): partitions.alter_table,
    ("UPDATE", "STATISTICS"): ddl.update_statistics,
    ("CREATE", "STATISTICS"): ddl.create_statistics,
    ("DROP", "STATISTICS"): ddl.remember,
    ("ALTER", "INDEX"): ddl.remember,
    ("CREATE", "WORKLOAD"): ddl.remember,
    ("CREATE", "USER"): ddl.remember,
    ("ALTER", "DATABASE"): ddl.remember,
}
AFTER_IF = {("BEGIN",), ("INSERT",), ("UPDATE",), ("DELETE",), ("EXEC",), ("SELECT",), ("COPY", "INTO"), *DEFINITIONS}


def carry_out(session: Session, sql: str, parameters: Parameters) -> Result:
    """What the pool answers to a statement that is no BEGIN, COMMIT or ROLLBACK."""
    reader = Reader(sql)
    if reader.sees("IF"):
        return _if(session, reader, parameters)
    if reader.may_take("EXEC") or reader.may_take("EXECUTE"):
        return _execute(session, reader)
    if reader.may_take("COPY", "INTO"):
        return copying.copy_into(session, reader)
    for begins, command in DEFINITIONS.items():
        if reader.may_take(*begins):
            session.refuse_in_transaction()
            return command(session, reader, parameters)
    plain, label = without_hints(sql)
    session.pool.labels.extend([label] if label else [])
    return session.query(plain, parameters)


def _if(session: Session, reader: Reader, parameters: Parameters) -> Result:
    reader.take("IF")
    condition, consequence = _parted(reader)
    said = session.query(f"SELECT CASE WHEN {condition} THEN 1 ELSE 0 END AS holds", parameters)
    return carry_out(session, consequence, parameters) if said.rows[0][0] else NOTHING


def _execute(session: Session, reader: Reader) -> Result:
    """A statement given as text, which is how CREATE SCHEMA and CREATE VIEW stand behind an IF."""
    if not reader.may_take("("):
        raise Refused(NO_PROCEDURE, f"Could not find stored procedure '{reader.next().text}'.")
    text = reader.string()
    reader.take(")")
    reader.end()
    session.pool.judge(text)
    return carry_out(session, text, {})


def _parted(reader: Reader) -> tuple[str, str]:
    """The condition of an IF, and the statement that hangs on it."""
    start, depth = reader.words[reader.at].start, 0
    while not reader.is_at_end():
        if not depth and any(reader.sees(*begins) for begins in AFTER_IF):
            break
        depth += {"(": 1, ")": -1}.get(reader.next().text, 0)
    condition = reader.sql[start : reader.words[reader.at].start] if not reader.is_at_end() else ""
    if reader.may_take("BEGIN"):
        rest = reader.rest().rstrip().rstrip(";")
        return condition, rest[: rest.upper().rindex("END")].rstrip().rstrip(";")
    return condition, reader.rest()
