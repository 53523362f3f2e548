"""The SQL of a mapping's checks: a condition that is true of a message that breaks one, and what was found there."""

from collections.abc import Iterable

from usage_analytics.contract_checks import Check

DUCKDB_TYPES = {
    "string": ("VARCHAR",), "boolean": ("BOOLEAN",), "object": ("OBJECT",), "list": ("ARRAY",), "null": ("NULL",),
    "whole": ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT"),
    "number": ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE"),
}  # fmt: skip


def broken(check: Check, document: str) -> str:
    """Whether a JSON text breaks the check."""
    there = _values(check.at, document)
    conditions = [f"len({_misfits(check, document)}) > 0"]
    if check.required:
        parent = check.at.rpartition("/")[0]
        conditions.append(f"len({there}) < {f'len({_values(parent, document)})' if parent else '1'}")
    if check.absent:
        conditions.append(f"len({there}) > 0")
    only = [_holds(pointer, value, document) for pointer, value in check.when]
    return " AND ".join([*only, f"({' OR '.join(conditions)})"])


def found(check: Check, document: str) -> str:
    """The first value that breaks it, with its type; else what is there."""
    value = f"coalesce({_misfits(check, document)}[1], {_values(check.at, document)}[1])"
    return f"{value}[1] || ' ' || coalesce(left({value}[2], 60), '')"


def _misfits(check: Check, document: str) -> str:
    return f"list_filter({_values(check.at, document)}, lambda v: NOT coalesce({_fits(check)}, false))"


def _fits(check: Check) -> str:
    fits = ["true"]
    if check.types:
        fits.append(f"v[1] IN ({_texts(t for name in check.types for t in DUCKDB_TYPES[name])})")
    if check.pattern is not None:
        fits.append(f"(v[1] <> 'VARCHAR' OR regexp_full_match(v[2], {_quote(check.pattern)}))")
    if check.keys is not None:
        other = f"list_filter(json_keys(v[2]), lambda k: NOT regexp_full_match(k, {_quote(check.keys)}))"
        fits.append(f"CASE WHEN v[1] = 'OBJECT' THEN len({other}) = 0 ELSE true END")
    if check.one_of:
        fits.append(f"(v[1] = 'NULL' OR v[2] IN ({_texts(check.one_of)}))")
    # A text is no number, whatever its digits.
    number = f"v[1] = 'NULL' OR CASE WHEN v[1] IN ({_texts(DUCKDB_TYPES['number'])}) THEN try_cast(v[2] AS DOUBLE) END"
    fits += [f"({number} >= {check.least!r})"] if check.least is not None else []
    fits += [f"({number} <= {check.most!r})"] if check.most is not None else []
    if check.length is not None:
        size = "CASE v[1] WHEN 'VARCHAR' THEN length(v[2]) WHEN 'ARRAY' THEN json_array_length(v[2]) END"
        fits.append(f"coalesce({size} BETWEEN {check.length[0]} AND {check.length[1]}, true)")
    return " AND ".join(fits)


def _values(pointer: str, document: str) -> str:
    """A list of pairs of JSON type and text."""
    tokens = pointer[1:].split("/")
    path = _quote("$" + "".join({"*": ".*", "#": "[*]"}.get(token, f'."{_unescaped(token)}"') for token in tokens))
    types, texts = f"json_type({document}, {path})", f"json_extract_string({document}, {path})"
    if {"*", "#"} & set(tokens):
        return f"list_zip({types}, {texts})"
    return f"list_filter(list_zip([{types}], [{texts}]), lambda v: v[1] IS NOT NULL)"


def _holds(pointer: str, value: str | bool, document: str) -> str:
    text = f"json_extract_string({document}, {_quote(pointer)})"
    return f"coalesce({text} = {_quote(value)}, false)" if isinstance(value, str) else f"{text} IS NOT NULL"


def _unescaped(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def _texts(values: Iterable[str]) -> str:
    return ", ".join(_quote(value) for value in values)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
