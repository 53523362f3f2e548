"""What Synapse's dedicated pool refuses although it is good T-SQL.

Sources: Microsoft's "T-SQL feature in Synapse SQL", "Table constraints", "Use transactions", "COPY INTO" and "WITH
common_table_expression" pages for the dedicated pool; multi-row VALUES and DROP TABLE IF EXISTS from what dbt and dlt
met on pools.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from usage_analytics_tests.tsql.script_dom import Fault, Token, nodes, tokens

# By the name that ScriptDom gives to the node.
REFUSED_NODES = {
    "OffsetClause": "OFFSET and FETCH",
    "DeclareTableVariableStatement": "a table variable",
    "DeclareCursorStatement": "a cursor",
    "CursorDefinition": "a cursor",
    "OutputClause": "OUTPUT",
    "OutputIntoClause": "OUTPUT",
    "ForeignKeyConstraintDefinition": "a foreign key",
    "CheckConstraintDefinition": "a CHECK constraint",
    "XmlForClause": "FOR XML",
    "JsonForClause": "FOR JSON",
    "ContinueStatement": "CONTINUE",
    "GoToStatement": "GOTO",
    "ReturnStatement": "RETURN",
    "UseStatement": "USE",
    "WaitForStatement": "WAITFOR",
    "OpenRowsetTableReference": "OPENROWSET",
    "BulkOpenRowset": "OPENROWSET",
    "OpenQueryTableReference": "OPENQUERY",
    "SaveTransactionStatement": "a savepoint",
    "CreateTriggerStatement": "a trigger",
    "CreateSequenceStatement": "a sequence",
    "CreateSynonymStatement": "a synonym",
    "XmlDataTypeReference": "the type xml",
    "BeginDistributedTransaction": "a distributed transaction",
    "ParseCall": "PARSE",
    "TryParseCall": "TRY_PARSE",
}
REFUSED_FUNCTIONS = {
    "CHOOSE", "STRING_ESCAPE", "TRANSLATE", "CHECKSUM_AGG", "GROUPING_ID", "ERROR_LINE", "SCOPE_IDENTITY",
    "IDENT_CURRENT",
}  # fmt: skip
REFUSED_TYPES = {
    "TEXT", "NTEXT", "IMAGE", "ROWVERSION", "TIMESTAMP", "SQL_VARIANT", "HIERARCHYID", "GEOGRAPHY", "GEOMETRY",
    "CURSOR", "TABLE",
}  # fmt: skip
REFUSED_COMPARISONS = {"NotLessThan": "!<", "NotGreaterThan": "!>"}
IN_TRANSACTIONS = re.compile(r"^(Create|Alter|Drop|Truncate|Rename|UpdateStatistics)")


def refused(sql: str, trees: list[Any]) -> list[Fault]:
    """What a pool would refuse of statements that Microsoft's parser can read."""
    found = [*_copy_rules(sql), *_keys_that_are_enforced(sql), *_drop_if_exists(sql)]
    for tree in trees:
        for node in nodes(tree):
            for rule in RULES:
                found += [Fault(node.StartLine, node.StartColumn, f"{why} is not supported") for why in rule(node)]
        found += _ddl_in_transactions(tree)
    return sorted(set(found), key=lambda fault: (fault.line, fault.column, fault.why))


def _kind(node: Any) -> str:
    return str(node.GetType().Name)


def _refused_node(node: Any) -> Iterator[str]:
    if _kind(node) in REFUSED_NODES:
        yield REFUSED_NODES[_kind(node)]


def _refused_function(node: Any) -> Iterator[str]:
    if _kind(node) == "FunctionCall" and str(node.FunctionName.Value).upper() in REFUSED_FUNCTIONS:
        yield str(node.FunctionName.Value).upper()
    if _kind(node) == "GlobalVariableExpression" and str(node.Name).upper() == "@@IDENTITY":
        yield "@@IDENTITY"


def _refused_type(node: Any) -> Iterator[str]:
    if _kind(node) in ("SqlDataTypeReference", "UserDataTypeReference"):
        name = str(node.Name.BaseIdentifier.Value).upper()
        if name in REFUSED_TYPES:
            yield f"the type {name.lower()}"


def _refused_comparison(node: Any) -> Iterator[str]:
    if _kind(node) == "BooleanComparisonExpression":
        comparison = str(node.ComparisonType)
        if comparison in REFUSED_COMPARISONS:
            yield f"the operator {REFUSED_COMPARISONS[comparison]}"


def _several_rows_of_values(node: Any) -> Iterator[str]:
    if _kind(node) == "ValuesInsertSource" and node.RowValues.Count > 1:
        yield "INSERT with several rows of VALUES"
    if _kind(node) == "InlineDerivedTable":
        yield "VALUES as a table"


def _with_before_other_than_select(node: Any) -> Iterator[str]:
    clause = getattr(node, "WithCtesAndXmlNamespaces", None)
    if clause is None:
        return
    if _kind(node) != "SelectStatement":
        yield "WITH before other than SELECT"
    for expression in clause.CommonTableExpressions:
        name = str(expression.ExpressionName.Value).upper()
        tables = (part for part in nodes(expression.QueryExpression) if _kind(part) == "NamedTableReference")
        called = (table.SchemaObject for table in tables)  # one in a schema is never the WITH's own
        if any(each.SchemaIdentifier is None and str(each.BaseIdentifier.Value).upper() == name for each in called):
            yield "a recursive WITH"


def _table_options(node: Any) -> Iterator[str]:
    if _kind(node) != "CreateTableStatement":
        return
    options = [_kind(option) for option in node.Options]
    temporary = str(node.SchemaObjectName.BaseIdentifier.Value).startswith("#")
    if "TableDistributionOption" not in options and not temporary:
        yield "CREATE TABLE that leaves the distribution to chance"
    if node.SchemaObjectName.SchemaIdentifier is None and not temporary:
        yield "CREATE TABLE without a schema"
    columnstore = "HEAP" not in _text(node).upper().rpartition("WITH")[2] and "INDEX (" not in _text(node).upper()
    for column in node.Definition.ColumnDefinitions:
        if column.ComputedColumnExpression is not None:
            yield "a computed column"
            continue
        if columnstore and "MAX" in _text(column.DataType).upper():
            yield "a type with (max) in a columnstore"
        default = column.DefaultConstraint
        if default is not None and "Literal" not in _kind(default.Expression):
            yield "a DEFAULT that is no constant"


def _unique_index(node: Any) -> Iterator[str]:
    if _kind(node) == "CreateIndexStatement" and node.Unique:
        yield "a unique index"


def _nested_or_named_transaction(node: Any) -> Iterator[str]:
    if _kind(node) == "BeginTransactionStatement" and (node.Distributed or node.Name is not None):
        yield "a named or distributed transaction"


RULES: list[Callable[[Any], Iterator[str]]] = [
    _refused_node, _refused_function, _refused_type, _refused_comparison, _several_rows_of_values,
    _with_before_other_than_select, _table_options, _unique_index, _nested_or_named_transaction,
]  # fmt: skip


def _text(node: Any) -> str:
    stream = node.ScriptTokenStream
    return "".join(stream[number].Text or "" for number in range(node.FirstTokenIndex, node.LastTokenIndex + 1))


def _ddl_in_transactions(tree: Any) -> Iterator[Fault]:
    """From BEGIN TRANSACTION on, until it is committed or rolled back, in the order of the text."""
    inside = False
    for node in nodes(tree):
        kind = _kind(node)
        if kind == "BeginTransactionStatement":
            inside = True
        elif kind in ("CommitTransactionStatement", "RollbackTransactionStatement"):
            inside = False
        elif inside and kind.endswith("Statement") and IN_TRANSACTIONS.match(kind):
            yield Fault(node.StartLine, node.StartColumn, f"{kind} inside a transaction is not supported")


def _words(sql: str) -> list[Token]:
    return [token for token in tokens(sql) if token.counts]


def _drop_if_exists(sql: str) -> Iterator[Fault]:
    words = _words(sql)
    for first, second, third, fourth in zip(words, words[1:], words[2:], words[3:], strict=False):
        if (first.word, third.word, fourth.word) == ("DROP", "IF", "EXISTS"):
            yield Fault(first.line, first.column, f"DROP {second.word} IF EXISTS is not supported")


def _keys_that_are_enforced(sql: str) -> Iterator[Fault]:
    """PRIMARY KEY wants NONCLUSTERED and NOT ENFORCED, UNIQUE wants NOT ENFORCED."""
    statement = " ".join(token.word for token in _words(sql))
    if not statement.startswith(("CREATE TABLE", "ALTER TABLE")):
        return
    for key in re.finditer(r"\b(PRIMARY KEY|UNIQUE)\b(?P<rest>[^()]*(\([^()]*\))?( NOT ENFORCED)?)", statement):
        if key[4] is None or (key[1] == "PRIMARY KEY" and "NONCLUSTERED" not in key["rest"]):
            yield Fault(1, 1, f"{key[1]} that is not NONCLUSTERED NOT ENFORCED is not supported")


def _copy_rules(sql: str) -> Iterator[Fault]:
    """What COPY INTO takes for Parquet, and which end point of a storage account a managed identity may use."""
    words = _words(sql)
    if not words or words[0].word != "COPY":
        return
    statement = " ".join(token.word for token in words)

    def wrong(why: str) -> Fault:
        return Fault(words[0].line, words[0].column, why)

    if "MANAGED IDENTITY" in statement and "DFS.CORE.WINDOWS.NET" not in statement:
        yield wrong("a managed identity reads Parquet from the .dfs. end point only")
    if "SHARED ACCESS SIGNATURE" in statement and ".BLOB.CORE.WINDOWS.NET" not in statement:
        yield wrong("a shared access signature reads Parquet from the .blob. end point only")
    if "FILE_TYPE = 'PARQUET'" not in statement:
        return
    for option in ("ERRORFILE", "FIELDQUOTE", "FIELDTERMINATOR", "ROWTERMINATOR", "FIRSTROW", "DATEFORMAT", "ENCODING"):
        if f"{option} =" in statement:
            yield wrong(f"{option} is for CSV, not for Parquet")
    compression = re.search(r"COMPRESSION = '(\w+)'", statement)
    if compression and compression[1] not in ("GZIP", "SNAPPY"):
        yield wrong(f"COMPRESSION {compression[1]} is not one of GZIP and SNAPPY")
    target = statement.partition(" FROM ")[0]
    if "AUTO_CREATE_TABLE = 'ON'" in statement and "(" in target:
        yield wrong("AUTO_CREATE_TABLE forbids a list of columns")
    if " . " not in target:
        yield wrong("COPY INTO without a schema")
