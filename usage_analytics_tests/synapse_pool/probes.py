"""What SQLAlchemy asks a server when it first connects, and a pool's answers."""

from __future__ import annotations

from usage_analytics_tests.synapse_pool.errors import Refused
from usage_analytics_tests.synapse_pool.results import Result
from usage_analytics_tests.synapse_pool.values import SqlType

TEXT = SqlType("nvarchar", length=128)
ANSWERS = {
    "SERVERPROPERTY": "12.0.2000.8",
    "SELECT SCHEMA_NAME()": "dbo",
    "SYS.SYSTEM_VIEWS": "dm_pdw_nodes_exec_sessions",
    "SELECT CASE TRANSACTION_ISOLATION_LEVEL": "READ UNCOMMITTED",
}


def answer_to_probe(sql: str) -> Result | None:
    """The answer to a question of SQLAlchemy's own; None for any other statement."""
    said = " ".join(sql.upper().split())
    if "FN_LISTEXTENDEDPROPERTY" in said:
        raise Refused(104222, "'fn_listextendedproperty' is not supported.")
    for asked, answer in ANSWERS.items():
        if asked in said and said.startswith("SELECT"):
            return Result((("v", TEXT),), [(answer,)], 1)
    return None
