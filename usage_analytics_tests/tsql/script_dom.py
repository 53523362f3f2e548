"""Microsoft's own T-SQL parser, ScriptDom, on a .NET that comes as a wheel too: nothing is installed beside Python.

It knows T-SQL of SQL Server 2019 and the DISTRIBUTION, HEAP and PARTITION clauses of Synapse; what else Synapse adds is
in `synapse_clauses`.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEEDS = ("mssqlcli", "dotnetcore2", "pythonnet", "clr_loader", "cffi")
NOTHING = ("WhiteSpace", "SingleLineComment", "MultilineComment", "EndOfFile")


@dataclass(frozen=True)
class Token:
    """A piece of a statement as the parser cuts it; ``kind`` is ScriptDom's name for it."""

    kind: str
    text: str
    line: int
    column: int

    @property
    def word(self) -> str:
        return self.text.upper()

    @property
    def counts(self) -> bool:
        """Whether it is more than white space or a comment."""
        return self.kind not in NOTHING


@dataclass(frozen=True)
class Fault:
    """What is wrong with a statement, and where; lines and columns from 1."""

    line: int
    column: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.why}"


def missing() -> str:
    """What to install before statements can be judged; empty if nothing."""
    absent = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    return f"T-SQL is judged by Microsoft's parser, which needs {', '.join(absent)}: see usage_analytics_tests/tsql"


def tokens(sql: str) -> list[Token]:
    """All tokens, white space and comments among them: their texts joined are the statement again."""
    found, _ = _parser().GetTokenStream(_reader(sql), None)
    return [Token(str(t.TokenType), t.Text or "", t.Line, t.Column) for t in found]


def parse(sql: str) -> tuple[Any, list[Fault]]:
    """The syntax tree of ScriptDom, and what it cannot read."""
    tree, errors = _parser().Parse(_reader(sql), None)
    return tree, [Fault(error.Line, error.Column, error.Message) for error in errors]


def nodes(tree: Any) -> Iterator[Any]:
    """Every node of a syntax tree, from the root down."""
    yield tree
    for name in _children_of(tree.GetType().FullName):
        value = getattr(tree, name)
        if value is None:
            continue
        for child in value if hasattr(value, "GetEnumerator") else [value]:
            yield from nodes(child)


@functools.cache
def _children_of(type_name: str) -> list[str]:
    """The properties of a kind of node that hold other nodes, or lists of them."""
    dom = _script_dom()
    fragment = dom.TSqlFragment
    kind = _assembly().GetType(type_name)
    import clr  # type: ignore[import-not-found]

    whole = clr.GetClrType(fragment)
    names = []
    for part in kind.GetProperties():
        if part.GetIndexParameters().Length:
            continue
        held = part.PropertyType
        if held.IsGenericType and held.GetGenericArguments().Length == 1:
            held = held.GetGenericArguments()[0]
        if whole.IsAssignableFrom(held):
            names.append(str(part.Name))
    return names


def _parser() -> Any:
    dom = _script_dom()
    return dom.TSql150Parser(True, dom.SqlEngineType.All)


def _reader(sql: str) -> Any:
    _script_dom()
    from System.IO import StringReader  # type: ignore[import-not-found]

    return StringReader(sql)


def _assembly() -> Any:
    import clr

    return clr.GetClrType(_script_dom().TSqlFragment).Assembly


@functools.cache
def _script_dom() -> Any:
    os.environ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"  # its ICU is not installed, and no statement needs it
    framework = {"name": "Microsoft.NETCore.App", "version": "3.1.0"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "script_dom.runtimeconfig.json"
        config.write_text(json.dumps({"runtimeOptions": {"tfm": "netcoreapp3.1", "framework": framework}}))
        from clr_loader import get_coreclr  # type: ignore[import-not-found]
        from pythonnet import set_runtime  # type: ignore[import-not-found]

        set_runtime(get_coreclr(runtime_config=str(config), dotnet_root=str(_folder_of("dotnetcore2") / "bin")))
        import clr

        clr.AddReference(
            str(_folder_of("mssqlcli") / "mssqltoolsservice/bin/Microsoft.SqlServer.TransactSql.ScriptDom")
        )
        import Microsoft.SqlServer.TransactSql.ScriptDom as dom  # type: ignore[import-not-found]
    return dom


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)  # importing mssqlcli would start more than its parser
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0])
