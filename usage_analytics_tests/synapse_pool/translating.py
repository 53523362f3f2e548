"""Queries and changes of rows, from T-SQL to DuckDB, with the parameters bound."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

from usage_analytics_tests.synapse_pool.catalog import CATALOG_VIEW
from usage_analytics_tests.synapse_pool.errors import SYNTAX, Refused
from usage_analytics_tests.synapse_pool.meaning import as_t_sql_means
from usage_analytics_tests.synapse_pool.values import SqlType
from usage_analytics_tests.synapse_pool.words import parts, words_of

DELETE_OF_ALIAS = re.compile(r"^\s*DELETE\s+FROM\s+(\w+)\s+FROM\b", re.I)


@dataclass(frozen=True)
class Parameter:
    """A value that came with a statement, and the type that the driver declared for it."""

    value: Any
    kind: SqlType


Parameters = Mapping[str, Parameter]


@dataclass(frozen=True)
class Translated:
    """A statement of DuckDB; ``reads_catalog``: it asks for `sys` or `INFORMATION_SCHEMA`.

    ``unnamed``: the places of the columns to which a query gives no name; of none where it asks for `*`.
    """

    sql: str
    parameters: dict[str, Any]
    reads_catalog: bool
    unnamed: frozenset[int] = frozenset()


ONE_AT_A_TIME = threading.Lock()  # sqlglot makes its dialects when they are first used, and not for two at once


def translated(sql: str, parameters: Parameters) -> Translated:
    """One SELECT, INSERT, UPDATE, DELETE or MERGE for DuckDB; `Refused` (103010) if it cannot be read."""
    with ONE_AT_A_TIME:
        return _translated(sql, parameters)


def _translated(sql: str, parameters: Parameters) -> Translated:
    try:
        tree = sqlglot.parse_one(DELETE_OF_ALIAS.sub(r"DELETE \1 FROM", sql), read="tsql")
    except sqlglot.errors.SqlglotError as error:
        raise Refused(SYNTAX, f"Parse error: {str(error).splitlines()[0]}") from error
    if isinstance(tree, exp.Command):
        raise Refused(SYNTAX, f"Parse error: the pool of these tests cannot carry out {sql[:200]}")
    reads_catalog, unnamed = _name_tables(tree), _unnamed(tree)
    bound = _bind(tree, parameters)
    tree = as_t_sql_means(tree)
    return Translated(tree.sql(dialect="duckdb", comments=False), bound, reads_catalog, unnamed)


def _unnamed(tree: exp.Expr) -> frozenset[int]:
    chosen = tree.selects if isinstance(tree, exp.Query) else []
    if any(each.is_star for each in chosen):
        return frozenset()
    return frozenset(n for n, each in enumerate(chosen) if not isinstance(each, exp.Alias | exp.Column | exp.Dot))


def _name_tables(tree: exp.Expr) -> bool:
    """Temporary tables keep the sign that sqlglot drops; what is asked of the catalog has views of its own."""
    asks = False
    for table in tree.find_all(exp.Table):
        this = table.this
        if isinstance(this, exp.Identifier) and (this.args.get("temporary") or this.name.startswith("#")):
            table.set("this", exp.to_identifier("#" + this.name.lstrip("#"), quoted=True))
            table.set("db", exp.to_identifier("temp"))
        elif CATALOG_VIEW.match(table.db):
            asks = True
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
            table.set("this", exp.to_identifier(f"{table.db}_{table.name}".lower()))
            table.set("db", None)
    return asks


def _bind(tree: exp.Expr, parameters: Parameters) -> dict[str, Any]:
    bound: dict[str, Any] = {}
    for node in list(tree.find_all(exp.Parameter)):
        name = node.this.name if isinstance(node.this, exp.Expr) else str(node.this)
        parameter = parameters.get(name.upper())
        if parameter is None:
            raise Refused(137, f'Must declare the scalar variable "@{name}".')
        if parameter.value is None:
            node.replace(exp.Null())  # of any type, as a NULL that the driver sends as nvarchar is
            continue
        bound[name] = parameter.value
        placeholder = exp.Placeholder(this=name)
        node.replace(exp.cast(placeholder, exp.DataType.build(parameter.kind.duckdb, dialect="duckdb")))
    return bound


def without_hints(sql: str) -> tuple[str, str]:
    """A statement without its last OPTION (...), and the label in there."""
    words = words_of(sql)
    for at in range(len(words) - 1, 0, -1):
        if words[at].upper == "OPTION" and words[at].kind == "word" and at + 1 < len(words):
            match = re.search(r"LABEL\s*=\s*N?'((?:[^']|'')*)'", sql[words[at].start :], re.I)
            return sql[: words[at].start].rstrip(), match[1] if match else ""
    return sql, ""


def with_functions(sql: str, functions: Mapping[str, Callable[[list[str]], int | str | None]]) -> str:
    """A statement in which calls of functions with constants, and @@ variables, are replaced by what they give."""
    words, found, done = words_of(sql), [], 0
    for at, word in enumerate(words):
        if word.kind != "word" or word.upper not in functions or word.start < done:
            continue
        end, arguments = word.end, ""
        if at + 1 < len(words) and words[at + 1].text == "(":
            depth, to = 1, at + 2
            while to < len(words) and depth:
                depth += {"(": 1, ")": -1}.get(words[to].text, 0)
                to += 1
            end, arguments = words[to - 1].end, sql[words[at + 1].end : words[to - 1].start]
        elif not word.text.startswith("@@"):
            continue
        value = functions[word.upper]([_constant(part) for part in parts(arguments) if part])
        said = "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'"
        found.append(sql[done : word.start] + said)
        done = end
    return "".join(found) + sql[done:]


def _constant(text: str) -> str:
    first = words_of(text)[0]
    return first.value if first.kind == "string" else text
