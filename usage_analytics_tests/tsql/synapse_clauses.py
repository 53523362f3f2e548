"""What Synapse's dedicated pool adds to T-SQL: held against its own grammar here, then taken out of the statement.

What is left is T-SQL that Microsoft's parser of 2019 can judge. Grammar: Microsoft's T-SQL reference, COPY INTO,
CREATE TABLE AS SELECT, RENAME, CREATE WORKLOAD GROUP, CREATE WORKLOAD CLASSIFIER and CREATE TABLE (Azure Synapse).
"""

from __future__ import annotations

from collections.abc import Callable

from usage_analytics_tests.tsql.statement_reading import NUMBERS, STRINGS, Reading, Unsound


def plain_statements(sql: str) -> list[str]:
    """The statement as one or more of T-SQL that say the same; none where Synapse's grammar says it all.

    `Unsound` names what that grammar does not allow.
    """
    reading = Reading(sql)
    for begins, judge in WHOLE.items():
        if reading.sees(*begins):
            judge(reading)
            reading.end()
            return []
    _take_out_clauses(reading)
    if reading.sees("CREATE", "TABLE"):
        return _create_table(reading)
    return [reading.rest()]


def _copy(reading: Reading) -> None:
    reading.take("COPY", "INTO")
    reading.names()
    if reading.may_take("("):
        reading.listed(lambda: _copied_column(reading))
        reading.take(")")
    reading.take("FROM")
    reading.listed(lambda: reading.of(STRINGS, "the address of files"))
    if reading.may_take("WITH"):
        reading.take("(")
        reading.listed(lambda: _option(reading, COPY_OPTIONS))
        reading.take(")")
    if reading.sees("OPTION"):
        _label(reading)


def _copied_column(reading: Reading) -> None:
    reading.name()
    if reading.may_take("DEFAULT"):
        reading.of((*STRINGS, *NUMBERS, "Null"), "a constant")
    token = reading.next()
    if token is not None and token.kind == "Integer":
        reading.any()


def _string(reading: Reading) -> None:
    reading.of(STRINGS, "a text in quotes")


def _number(reading: Reading) -> None:
    reading.of(NUMBERS, "a number")


def _on_or_off(reading: Reading) -> None:
    token = reading.of(STRINGS, "'ON' or 'OFF'")
    if token.word not in ("'ON'", "'OFF'"):
        raise Unsound(token, f"'ON' or 'OFF' was expected, not {token.text}")


def _credential(reading: Reading) -> None:
    reading.take("(", "IDENTITY", "=")
    _string(reading)
    if reading.may_take(",", "SECRET"):
        reading.take("=")
        _string(reading)
    reading.take(")")


def _option(reading: Reading, options: dict[str, Callable[[Reading], None]]) -> None:
    name = reading.name()
    if name.word not in options:
        raise Unsound(name, f"{name.text} is no option here ({', '.join(options)})")
    reading.take("=")
    options[name.word](reading)


COPY_OPTIONS: dict[str, Callable[[Reading], None]] = {
    "FILE_TYPE": _string,
    "FILE_FORMAT": Reading.names,
    "CREDENTIAL": _credential,
    "ERRORFILE": _string,
    "ERRORFILE_CREDENTIAL": _credential,
    "MAXERRORS": _number,
    "COMPRESSION": _string,
    "FIELDQUOTE": _string,
    "FIELDTERMINATOR": _string,
    "ROWTERMINATOR": _string,
    "FIRSTROW": _number,
    "DATEFORMAT": _string,
    "ENCODING": _string,
    "IDENTITY_INSERT": _on_or_off,
    "AUTO_CREATE_TABLE": _on_or_off,
}
GROUP_OPTIONS: dict[str, Callable[[Reading], None]] = {
    "MIN_PERCENTAGE_RESOURCE": _number,
    "CAP_PERCENTAGE_RESOURCE": _number,
    "REQUEST_MIN_RESOURCE_GRANT_PERCENT": _number,
    "REQUEST_MAX_RESOURCE_GRANT_PERCENT": _number,
    "QUERY_EXECUTION_TIMEOUT_SEC": _number,
    "IMPORTANCE": lambda reading: _importance(reading),
}
CLASSIFIER_OPTIONS: dict[str, Callable[[Reading], None]] = {
    **dict.fromkeys(("WORKLOAD_GROUP", "MEMBERNAME", "WLM_LABEL", "WLM_CONTEXT", "START_TIME", "END_TIME"), _string),
    "IMPORTANCE": lambda reading: _importance(reading),
}


def _importance(reading: Reading) -> None:
    token, known = reading.name(), ("LOW", "BELOW_NORMAL", "NORMAL", "ABOVE_NORMAL", "HIGH")
    if token.word not in known:
        raise Unsound(token, f"{token.text} is no importance ({', '.join(known)})")


def _workload_group(reading: Reading) -> None:
    reading.any()
    reading.take("WORKLOAD", "GROUP")
    _named_options(reading, GROUP_OPTIONS)


def _workload_classifier(reading: Reading) -> None:
    reading.take("CREATE", "WORKLOAD", "CLASSIFIER")
    _named_options(reading, CLASSIFIER_OPTIONS)


def _named_options(reading: Reading, options: dict[str, Callable[[Reading], None]]) -> None:
    reading.name()
    reading.take("WITH", "(")
    reading.listed(lambda: _option(reading, options))
    reading.take(")")


def _rename(reading: Reading) -> None:
    reading.take("RENAME", "OBJECT")
    reading.may_take("::")
    reading.names()
    reading.take("TO")
    reading.name()


WHOLE: dict[tuple[str, ...], Callable[[Reading], None]] = {
    ("COPY",): _copy,
    ("RENAME",): _rename,
    ("CREATE", "WORKLOAD", "GROUP"): _workload_group,
    ("ALTER", "WORKLOAD", "GROUP"): _workload_group,
    ("CREATE", "WORKLOAD", "CLASSIFIER"): _workload_classifier,
}


def _label(reading: Reading) -> None:
    reading.take("OPTION", "(", "LABEL", "=")
    _string(reading)
    reading.take(")")


def _take_out_clauses(reading: Reading) -> None:
    """Clauses that may stand anywhere in a statement of T-SQL, which is otherwise as ever."""
    while reading.next() is not None:
        start = reading.position()
        if reading.sees("OPTION", "(", "LABEL"):
            _label_among_hints(reading, start)
        elif reading.may_take("NOT", "ENFORCED"):
            reading.blank(start)
        elif reading.may_take("COLUMNSTORE", "INDEX"):
            start = reading.position()
            if reading.may_take("ORDER"):
                reading.bracketed()
                reading.blank(start)
        elif reading.may_take("HASH", "("):
            _first_of_hash(reading)
        elif reading.sees("WITH", "(", "TRUNCATE_TARGET"):
            reading.take("WITH", "(", "TRUNCATE_TARGET", "=")
            if not (reading.may_take("ON") or reading.may_take("OFF")):
                raise Unsound(reading.next(), "ON or OFF was expected")
            reading.take(")")
            reading.blank(start)
        else:
            reading.any()
    reading.rewind()


def _label_among_hints(reading: Reading, start: int) -> None:
    reading.take("OPTION", "(")
    hints = reading.position()
    reading.take("LABEL", "=")
    _string(reading)
    if reading.may_take(")"):
        reading.blank(start)
    else:
        reading.take(",")
        reading.blank(hints)


def _first_of_hash(reading: Reading) -> None:
    # HASH JOIN and the functions of that name have no bare list of columns, so they are left alone.
    reading.name()
    start = reading.position()
    while reading.may_take(","):
        reading.name()
    reading.blank(start)
    reading.take(")")


def _create_table(reading: Reading) -> list[str]:
    start = reading.position()
    reading.take("CREATE", "TABLE")
    reading.names()
    name = "".join(token.text for token in reading.all[start : reading.position()])
    if not reading.may_take("WITH"):
        reading.rewind()
        return [reading.rest()]
    options = reading.bracketed()
    reading.take("AS")
    return [f"{name} (c int) WITH {options}", reading.rest()]
