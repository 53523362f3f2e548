"""What a usage message must hold, and where in a user's own JSON each field is found.

A mapping is a TOML file: it names, for each field of the canonical usage event, the JSON pointers (RFC 6901) to look
at in turn, and what kind of value must stand there. No code is needed to read another application's messages.
"""

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from usage_analytics.contract_checks import Check, parse_check, refuse_bad_escape
from usage_analytics.errors import UserError

KINDS = ("string", "scalar", "number", "instant")
TIME_FORMATS = ("iso8601", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns")
OTHERWISE = {"event_id": "position", "event_time": "received"}  # what Kafka knows of a message that lacks them
MOST_TOLERANCE_S = 30 * 366 * 86_400  # any event time that has a trading day; much more overflows in microseconds
SHIPPED = ("usage_event", "wikipedia_app_events")


@dataclass(frozen=True)
class CanonicalField:
    """A field of the canonical usage event: its kind, and whether every event has one."""

    name: str
    kind: str
    required: bool
    meaning: str


CANONICAL_FIELDS = (
    CanonicalField("event_id", "string", True, "identifies the event; a redelivered message repeats it"),
    CanonicalField("event_time", "instant", True, "when the user acted"),
    CanonicalField("user", "string", True, "who acted; always pseudonymised"),
    CanonicalField("client_firm", "string", False, "the firm the user works for"),
    CanonicalField("user_session", "string", False, "the application's own session identifier"),
    CanonicalField("mini_app", "string", True, "the part of the application that was used"),
    CanonicalField("action", "string", False, "what was done there"),
    CanonicalField("screen", "string", False, "screen or context within the mini-app"),
    CanonicalField("latency_ms", "number", False, "how long the user waited, in milliseconds"),
    CanonicalField("entity", "string", False, "what the action was about: an instrument, a document, an article"),
    CanonicalField("payload_bytes", "number", False, "how much the application fetched for it, in bytes"),
)
ALWAYS_PSEUDONYMISED = "user"


@dataclass(frozen=True)
class MappedField:
    """Where one canonical field (or property) stands in a message: pointers tried in order, first non-null wins."""

    name: str
    pointers: tuple[str, ...]
    kind: str
    required: bool
    pseudonymise: bool = False
    default: str | None = None
    otherwise: str | None = None


@dataclass(frozen=True)
class Mapping:
    """A checked mapping file: how the messages of one application become usage events."""

    name: str
    version: int
    fields: tuple[MappedField, ...]
    properties: tuple[MappedField, ...] = ()
    properties_object: str | None = None
    time_format: str = "iso8601"
    timezone: str = "UTC"
    earliest: date = date(2010, 1, 1)
    future_tolerance_s: int = 86_400
    checks: tuple[Check, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes whenever the mapping would read a message differently."""
        facts = asdict(self)
        for field in facts["fields"] + facts["properties"]:
            if field["otherwise"] is None:  # a mapping that does not use what came later reads as it did before
                del field["otherwise"]
        if not facts["checks"]:
            del facts["checks"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def earliest_us(self) -> int:
        """The first credible event time, in microseconds since the epoch."""
        return int(datetime(self.earliest.year, self.earliest.month, self.earliest.day, tzinfo=UTC).timestamp()) * 10**6


def load_mapping(name_or_path: str) -> Mapping:
    """A mapping shipped with the platform (by name) or a TOML file (by path); any error in it is a `UserError`."""
    if name_or_path in SHIPPED:
        source = resources.files("usage_analytics") / "mappings" / f"{name_or_path}.toml"
        return parse_mapping(source.read_text(encoding="utf-8"), f"{name_or_path}.toml")
    path = Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"mapping {name_or_path!r}: no such file, nor a shipped mapping ({', '.join(SHIPPED)})"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"mapping {name_or_path!r} cannot be read: {error}") from None
    return parse_mapping(text, name_or_path)


def parse_mapping(text: str, place: str) -> Mapping:
    """The mapping in a TOML text; ``place`` names it in errors."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"mapping {place}: not valid TOML: {error}") from None
    _refuse_unknown(document, {"name", "version", "time", "fields", "properties", "checks"}, place)
    fields = _table(document, "fields", place)
    known = {canonical.name: canonical for canonical in CANONICAL_FIELDS}
    _refuse_unknown(fields, set(known), f"{place} [fields]")
    clock = _time_rules(_table(document, "time", place), place)
    properties = dict(_table(document, "properties", place))
    whole = properties.pop("all_of", None)
    _refuse_same_name(properties, f"{place} [properties]")
    if whole is not None:
        _check_pointer(whole, f"{place} [properties] all_of")
    checks = document.get("checks", [])
    if not isinstance(checks, list):
        raise UserError(f"mapping {place}: [[checks]] is a list of tables, found {checks!r}")
    mapping = Mapping(
        name=_required(document, "name", str, place),
        version=_required(document, "version", int, place),
        fields=tuple(
            _canonical_field(c, fields.get(c.name), place) for c in CANONICAL_FIELDS if _mapped(c, fields, place)
        ),
        properties=tuple(_property(name, entry, place) for name, entry in properties.items()),
        properties_object=whole,
        checks=tuple(parse_check(entry, f"{place} [[checks]] {n}") for n, entry in enumerate(checks, start=1)),
        **clock,
    )
    _refuse_leaks(mapping, place)
    return mapping


def _mapped(canonical: CanonicalField, fields: dict[str, Any], place: str) -> bool:
    if canonical.required and canonical.name not in fields:
        raise UserError(f"mapping {place} [fields]: {canonical.name} is missing; every usage event has one")
    return canonical.name in fields


def _canonical_field(canonical: CanonicalField, entry: Any, place: str) -> MappedField:
    where = f"{place} [fields.{canonical.name}]"
    mapped = _mapped_field(canonical.name, entry, canonical.kind, where)
    if canonical.kind != mapped.kind and {canonical.kind, mapped.kind} != {"string", "scalar"}:
        raise UserError(f"mapping {where}: kind {mapped.kind!r} does not fit, {canonical.name} is a {canonical.kind}")
    secret = mapped.pseudonymise or canonical.name == ALWAYS_PSEUDONYMISED
    required = (canonical.required or mapped.required) and mapped.default is None
    return MappedField(canonical.name, mapped.pointers, mapped.kind, required, secret, mapped.default, mapped.otherwise)


def _property(name: str, entry: Any, place: str) -> MappedField:
    where = f"{place} [properties.{name}]"
    if not name.replace("_", "").isalnum():
        raise UserError(f"mapping {where}: a property's name has letters, digits and _ only")
    return _mapped_field(name, entry, "scalar", where)


def _mapped_field(name: str, entry: Any, kind: str, where: str) -> MappedField:
    entry = {"pointer": entry} if isinstance(entry, str | list) else entry
    if not isinstance(entry, dict):
        raise UserError(f"mapping {where}: expected a JSON pointer or a table with one, found {entry!r}")
    _refuse_unknown(entry, {"pointer", "kind", "required", "pseudonymise", "default", "otherwise"}, where)
    otherwise = entry.get("otherwise")
    if otherwise is not None and otherwise != OTHERWISE.get(name):
        known = ", ".join(f"{value!r} of {field}" for field, value in OTHERWISE.items())
        raise UserError(f"mapping {where}: otherwise is {known}, found {otherwise!r}")
    pointers = entry.get("pointer", [] if otherwise else None)
    pointers = [pointers] if isinstance(pointers, str) else pointers
    if not isinstance(pointers, list) or not (pointers or otherwise):
        raise UserError(f'mapping {where}: pointer is missing (such as "/user/id", or a list of them)')
    for pointer in pointers:
        _check_pointer(pointer, where)
    for flag in ("required", "pseudonymise"):
        if not isinstance(entry.get(flag, False), bool):
            raise UserError(f"mapping {where}: {flag} is true or false, found {entry[flag]!r}")
    kind = entry.get("kind", kind)
    if kind not in KINDS:
        raise UserError(f"mapping {where}: kind is one of {', '.join(KINDS)}, found {kind!r}")
    is_text = kind in ("string", "scalar")
    default = entry.get("default")
    if default is not None and (not isinstance(default, str) or not is_text):
        raise UserError(f"mapping {where}: default is a string, for a string field, found {default!r}")
    secret, required = entry.get("pseudonymise", False), entry.get("required", False)
    if secret and not is_text:
        raise UserError(f"mapping {where}: a {kind} cannot be pseudonymised; its kind would have to be scalar")
    return MappedField(name, tuple(pointers), kind, required, secret, default, otherwise)


def _refuse_leaks(mapping: Mapping, place: str) -> None:
    # An object that is kept whole would carry the very identifier that its field replaces by a pseudonym.
    whole = mapping.properties_object
    for field in (*mapping.fields, *mapping.properties):
        for pointer in field.pointers if field.pseudonymise and whole else ():
            if f"{pointer}/".startswith(f"{whole}/"):
                where = f"{place} [properties] all_of"
                why = f"{whole} holds {pointer}, which {field.name} pseudonymises; pick instead"
                raise UserError(f"mapping {where}: {why}")


def _check_pointer(pointer: Any, where: str) -> None:
    # DuckDB reads a text that does not start with / as its own path language, where * would match many values.
    if not isinstance(pointer, str) or not pointer.startswith("/") or len(pointer) < 2:
        raise UserError(f'mapping {where}: {pointer!r} is not a JSON pointer such as "/user/id"')
    refuse_bad_escape(pointer, where)


def _time_rules(entry: dict[str, Any], place: str) -> dict[str, Any]:
    where = f"{place} [time]"
    _refuse_unknown(entry, {"format", "timezone", "earliest", "future_tolerance_s"}, where)
    time_format = entry.get("format", "iso8601")
    if time_format not in TIME_FORMATS:
        raise UserError(f"mapping {where}: format is one of {', '.join(TIME_FORMATS)}, found {time_format!r}")
    timezone = entry.get("timezone", "UTC")
    try:
        from zoneinfo import ZoneInfo

        ZoneInfo(timezone)
    except (KeyError, ValueError, TypeError, OSError):
        raise UserError(f"mapping {where}: timezone {timezone!r} is not known") from None
    if not _duckdb_knows(timezone):
        raise UserError(f"mapping {where}: timezone {timezone!r} is not known to DuckDB, which reads the times")
    earliest = entry.get("earliest", Mapping.earliest)
    if not isinstance(earliest, date) or isinstance(earliest, datetime) or earliest < Mapping.earliest:
        raise UserError(f"mapping {where}: earliest is a day from {Mapping.earliest} on, found {earliest!r}")
    tolerance = entry.get("future_tolerance_s", Mapping.future_tolerance_s)
    if not isinstance(tolerance, int) or isinstance(tolerance, bool) or tolerance < 0:
        raise UserError(f"mapping {where}: future_tolerance_s is a number of seconds, found {tolerance!r}")
    if tolerance > MOST_TOLERANCE_S:
        raise UserError(f"mapping {where}: future_tolerance_s is at most {MOST_TOLERANCE_S:,} (30 years)")
    rules = {"time_format": time_format, "timezone": timezone, "earliest": earliest}
    return {**rules, "future_tolerance_s": tolerance}


@lru_cache
def _duckdb_knows(timezone: str) -> bool:
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        return bool(connection.execute("FROM pg_timezone_names() WHERE name = ?", [timezone]).fetchall())


def _table(document: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise UserError(f"mapping {place}: [{name}] is a table, found {table!r}")
    return table


def _required(document: dict[str, Any], name: str, kind: type, place: str) -> Any:
    value = document.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"mapping {place}: {name} is missing or not a {'number' if kind is int else 'text'}")
    return value


def _refuse_same_name(properties: dict[str, Any], where: str) -> None:
    seen: dict[str, str] = {}
    for name in properties:
        other = seen.setdefault(name.lower(), name)
        if other != name:  # column stores do not tell them apart
            raise UserError(f"mapping {where}: {other!r} and {name!r} differ only in upper and lower case")


def _refuse_unknown(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise UserError(f"mapping {where}: {key!r} is not known here (expected {', '.join(sorted(known))})")
