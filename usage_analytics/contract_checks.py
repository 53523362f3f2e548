"""What else a mapping may ask of a message besides its fields: conditions on any values in the JSON.

A check names its values by a JSON pointer in which ``*`` stands for each member of an object and ``#`` for each item of
a list. Values that are not there keep it, unless it is ``required``.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any

from usage_analytics.errors import UserError

LARGEST = sys.float_info.max
TYPES = ("string", "whole", "number", "boolean", "object", "list", "null")
ASKED: dict[str, type | tuple[type, ...]] = {
    "at": str, "required": bool, "absent": bool, "type": (str, list), "pattern": str, "keys": str, "one_of": list,
    "least": (int, float), "most": (int, float), "length": list, "when": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """A condition on the values at one pointer.

    ``required``: each parent has one. ``absent``: there is none. ``keys``: a pattern of an object's keys. ``length``:
    least and most characters of a text, or items of a list. ``when``: the check holds only where other values are
    these texts (or, by True, are there at all).
    """

    at: str
    required: bool = False
    absent: bool = False
    types: tuple[str, ...] = ()
    pattern: str | None = None
    keys: str | None = None
    one_of: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    length: tuple[int, int] | None = None
    when: tuple[tuple[str, str | bool], ...] = ()


def parse_check(entry: Any, where: str) -> Check:
    """The check in a TOML table; any error in it is a `UserError`."""
    if not isinstance(entry, dict):
        raise UserError(f'mapping {where}: expected a table such as at = "/count", least = 0, found {entry!r}')
    for name, value in entry.items():
        if name not in ASKED:
            raise UserError(f"mapping {where}: {name!r} is not known here (expected {', '.join(sorted(ASKED))})")
        if not isinstance(value, ASKED[name]) or (isinstance(value, bool) and ASKED[name] is not bool):
            raise UserError(f"mapping {where}: {name} cannot be {value!r}")
    when, types = entry.get("when", {}), entry.get("type", ())
    types = (types,) if isinstance(types, str) else tuple(types)
    for pointer in (entry.get("at"), *when):
        if not isinstance(pointer, str) or not re.fullmatch(r'(/[^/"]+)+', pointer):
            raise UserError(f'mapping {where}: {pointer!r} is not a JSON pointer such as "/events/#/count"')
        refuse_bad_escape(pointer, where)
    for pointer in when:
        if {"*", "#"} & set(pointer.split("/")):
            raise UserError(f"mapping {where}: when asks for one value, {pointer!r} may be many")
    for name in types:
        if name not in TYPES:
            raise UserError(f"mapping {where}: type is one or several of {', '.join(TYPES)}, found {name!r}")
    for name in ("pattern", "keys"):
        _refuse_bad_pattern(entry.get(name), name, where)
    for name in ("least", "most"):
        if not -LARGEST <= entry.get(name, 0) <= LARGEST:  # nan is not between either
            raise UserError(f"mapping {where}: {name} is a finite number, found {str(entry[name])[:40]}")
    length = entry.get("length")
    if length is not None and (len(length) != 2 or not all(isinstance(end, int) for end in length)):
        raise UserError(f"mapping {where}: length is the least and the most, such as [1, 100], found {length!r}")
    for name, value in [("one_of", value) for value in entry.get("one_of", [])] + list(when.items()):
        if not isinstance(value, str) and not (name != "one_of" and value is True):
            raise UserError(f"mapping {where}: {name} is compared with a text, found {value!r}")
    return Check(
        entry["at"], entry.get("required", False), entry.get("absent", False), types, entry.get("pattern"),
        entry.get("keys"), tuple(entry.get("one_of", ())), entry.get("least"), entry.get("most"),
        (length[0], length[1]) if length else None, tuple(when.items()),
    )  # fmt: skip


def refuse_bad_escape(pointer: str, where: str) -> None:
    """`UserError` where a ``~`` of a JSON pointer stands for nothing (RFC 6901): readers take it differently."""
    if re.search("~(?![01])", pointer):
        why = "has a ~ that is followed by neither 0 nor 1; write ~0 for ~ itself"
        raise UserError(f"mapping {where}: {pointer!r} {why}")


def _refuse_bad_pattern(pattern: str | None, name: str, where: str) -> None:
    import duckdb

    try:
        if pattern is not None:
            duckdb.connect().execute("SELECT regexp_full_match('', ?)", [pattern])
    except duckdb.Error as error:
        raise UserError(f"mapping {where}: {name} {pattern!r} is no regular expression of RE2: {error}") from None
