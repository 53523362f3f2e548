"""What is the matter with a message, in a sentence and in the words of its mapping: the detail of its dead letter."""

import json

from usage_analytics.contract import MappedField, Mapping
from usage_analytics.enrichment.judgement_query import LONGEST, MOST_TEXT

# What DuckDB's json_type answers, in the words of a mapping.
WORDS = {
    "VARCHAR": "string", "BOOLEAN": "boolean", "BIGINT": "number", "UBIGINT": "number", "HUGEINT": "number",
    "UHUGEINT": "number", "DOUBLE": "number", "ARRAY": "list", "OBJECT": "object", "NULL": "null",
}  # fmt: skip
UNITS = {
    "epoch_s": ("seconds", 1), "epoch_ms": ("milliseconds", 10**3), "epoch_us": ("microseconds", 10**6),
    "epoch_ns": ("nanoseconds", 10**9),
}  # fmt: skip
# From 2010 to 2040, in seconds since the epoch: a number lies in it by one of the units only.
LIKELY_S = (1_262_304_000, 2_240_524_800)


def detail(mapping: Mapping, exchange: str, reason: str, name: str, found: str | None, value: bytes | None) -> str:
    """The sentence; reason, name and found are those of `judgement_query`, value is the message."""
    mapped = next((f for f in (*mapping.fields, *mapping.properties) if f.name == name), None)
    place = " or ".join(mapped.pointers) if mapped else mapping.properties_object or ""
    sentences = {
        "empty_message": lambda: "the message is empty (a tombstone)",
        "not_utf8": lambda: f"the message is not UTF-8 text{_where_not_utf8(value or b'')}",
        "not_json": lambda: f"the message is not JSON{_where_not_json(value or b'')}: {found}",
        "not_an_object": lambda: f"expected a JSON object, found {_worded(found)}",
        "missing_field": lambda: f"{name} is missing: {found or 'nothing'} at {place}",
        "wrong_type": lambda: f"{name} at {place}: {_wrong_type(mapping, mapped, _worded(found))}",
        "broken_check": lambda: f"what the mapping asks of {name} does not hold: found {_worded(found)} there",
        "too_large": lambda: _too_large(name, place, found),
        "absurd_time": lambda: f"{name} {found}{_other_unit(mapping, found)}",
        "no_trading_day": lambda: f"{name} {found} is in no trading day known of {exchange}",
    }
    return sentences[reason]()


def _too_large(name: str, place: str, found: str | None) -> str:
    if name:
        return f"{name} at {place} has {found} characters; a usage event holds at most {LONGEST[name]} of it"
    return f"the mapping reads {found} bytes of text from it; a usage event holds at most {MOST_TEXT:,}"


def _worded(found: str | None) -> str:
    kind, space, text = (found or "nothing").partition(" ")
    return f"{WORDS.get(kind, kind)}{space}{text}"


def _wrong_type(mapping: Mapping, mapped: MappedField | None, found: str) -> str:
    if mapped is None:
        return f"expected object, found {found}"
    wanted, hint = mapped.kind, ""
    if mapped.kind == "instant":
        wanted = f"instant ({mapping.time_format})"
        hint = _other_unit(mapping, found.removeprefix("number ")) if found.startswith("number ") else ""
    elif mapped.kind == "string" and found.startswith(("number ", "boolean ")):
        hint = ' (kind = "scalar" would take it)'
    return f"expected {wanted}, found {found}{hint}"


def _other_unit(mapping: Mapping, found: str | None) -> str:
    """A guess at what went wrong, where a number is a likely time by another unit than the mapping's."""
    try:
        number = float((found or "").split()[0])
    except (ValueError, IndexError):
        return ""
    for time_format, (unit, per_second) in UNITS.items():
        if time_format != mapping.time_format and LIKELY_S[0] <= number / per_second <= LIKELY_S[1]:
            return f": {unit}, where the mapping says {mapping.time_format}?"
    return ""


def _where_not_utf8(value: bytes) -> str:
    if value.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ": it begins with a byte order mark of UTF-16"
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f": byte {error.start} is {value[error.start]:#04x}"
    return ""


def _where_not_json(value: bytes) -> str:
    """Byte (from 0) and reason by Python's parser, which takes a little more than the contract: then nothing."""
    text = value.decode()
    if text.startswith("\ufeff"):
        return " (it begins with a byte order mark, BOM)"
    try:
        json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return f" ({error.msg} at byte {len(text[: error.pos].encode())})"
    except ValueError as error:
        return f" ({error})"
    except RecursionError:
        return " (nested too deeply)"
    return ""


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")
