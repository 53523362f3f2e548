"""Whether a dedicated pool would take a statement, as far as that can be known without one."""

from __future__ import annotations

from usage_analytics_tests.tsql.deny_list import refused
from usage_analytics_tests.tsql.script_dom import Fault, parse
from usage_analytics_tests.tsql.statement_reading import Unsound
from usage_analytics_tests.tsql.synapse_clauses import plain_statements


def faults(sql: str) -> list[Fault]:
    """What is wrong with one statement, or script without COPY and CREATE TABLE AS: its grammar, or the deny list."""
    try:
        plain = plain_statements(sql)
    except Unsound as unsound:
        return [unsound.fault]
    parsed = [parse(statement) for statement in plain]
    found = [fault for _, errors in parsed for fault in errors]
    return found or refused(sql, [tree for tree, _ in parsed])
