"""The SQL that judges messages against a mapping: typed columns for the good ones, a reason for each of the others.

All pointers are read in one pass over each message. DuckDB sees one value per message (never joined lines), so a broken
message cannot shift the rows behind it, and every expression is guarded so that none can fail the batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time

from usage_analytics.contract import MappedField, Mapping
from usage_analytics.enrichment.check_conditions import broken, found
from usage_analytics.tables import EVENT_COLUMNS
from usage_analytics.trading_calendar import LAST_DAY, TradingCalendar

# What json_type answers, by the words a person would use.
NUMBERS = "('BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT', 'DOUBLE')"
SCALARS = "('VARCHAR', 'BOOLEAN', 'BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT', 'DOUBLE')"
EPOCH_UNITS = {"epoch_s": 1_000_000.0, "epoch_ms": 1_000.0, "epoch_us": 1.0, "epoch_ns": 0.001}
# No credible event time is later, whatever Kafka's own clock says: no trading day is known for it.
LATEST_US = int(datetime.combine(LAST_DAY, time(), tzinfo=UTC).timestamp()) * 1_000_000
# Bytes of text that a usage event may hold, before pseudonyms. DuckDB takes 2,048 rows of a column into memory to
# write or change any of them: larger texts would make loads fail, and in the end the warehouse itself.
MOST_TEXT = 128 * 2**10
# UTF-16 units of a field's text, of which Synapse counts, whatever the warehouse: events are the same for all.
LONGEST = {column.name: column.length for column in EVENT_COLUMNS if column.length and column.name != "properties"}
BEYOND_16_BITS = r"[^\x{10000}-\x{10FFFF}]"  # those characters are two units each
FIELD_PREFIX, PROPERTY_PREFIX = "f_", "p_"
# An instant as ISO 8601 and RFC 3339 write it. DuckDB's own cast would also take names of time zones, 'now', spaces
# behind the time and any offset; ISO clocks are at most 18 hours from UTC (as in Java). Whether such a day and hour
# exist, the cast says.
OFFSET = r"[+-](?:(?:0\d|1[0-7])(?::?[0-5]\d)?|18(?::?00)?)"
ISO_INSTANT = rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?(?:Z|{OFFSET})?"
# What DuckDB's parser takes and RFC 8259 does not: a comma before a closing bracket, and numbers that are none. Texts
# hold such characters too. So three quick looks (RE2 jumps from one first letter to the next) find the few messages in
# doubt, and only those are walked through from the start, string by string.
DOUBTS = (r",\s*[\]}]", r"(?i)nan\s*(?:[,\]}]|$)", r"(?i)inf(?:inity)?\s*(?:[,\]}]|$)")
FORGIVEN = r'^(?:[^"]|"(?:[^"\\]|\\.)*")*?(?:,\s*[\]}]|(?i:nan|inf))'


@dataclass(frozen=True)
class _Expressions:
    """SQL of one mapped field: its text, JSON type, typed value, and whether that value keeps the contract."""

    field: MappedField
    text: str
    kind: str
    value: str
    fits: str


def judgement_query(mapping: Mapping, calendar: TradingCalendar) -> str:
    """A query over ``messages`` (`RAW_SCHEMA`) in row order.

    Gives kafka_offset, kafka_timestamp_us, key, value, one ``f_`` column per mapped field, one ``p_`` column per picked
    property, ``properties`` (JSON text or null), and reason, field, found: all null where the message is good.
    """
    pointers = [p for f in (*mapping.fields, *mapping.properties) for p in f.pointers]
    whole = mapping.properties_object
    pointers += [whole] if whole else []
    position = {pointer: index for index, pointer in enumerate(dict.fromkeys(pointers), start=1)}
    fields = [_expressions(f, position, mapping) for f in mapping.fields]
    picked = [_expressions(f, position, mapping) for f in mapping.properties]
    columns = [f"{e.value} AS {FIELD_PREFIX}{e.field.name}" for e in fields]
    columns += [f"{e.value} AS {PROPERTY_PREFIX}{e.field.name}" for e in picked]
    columns.append(f"{f'x[{position[whole]}]' if whole else 'NULL'} AS properties")
    rules = _rules([*fields, *picked], mapping, calendar, position.get(whole or ""))
    return f"""
WITH decoded AS (
    SELECT kafka_offset, kafka_timestamp_us, key, value, try(decode(value)) AS body FROM messages
), checked AS (
    SELECT *, coalesce(json_valid(body) AND NOT {_forgiven("body")}, false) AS is_json FROM decoded
), parsed AS (
    SELECT *, CASE WHEN is_json THEN body END AS document FROM checked
), extracted AS (
    SELECT *, json_type(document) AS shape,
           json_extract_string(document, {_list(position)}) AS x, json_type(document, {_list(position)}) AS t
    FROM parsed
), typed AS MATERIALIZED (
    SELECT *, {", ".join(columns)} FROM extracted
), judged AS MATERIALIZED (
    SELECT *, {_case([(condition, str(n)) for n, (condition, _, _, _) in enumerate(rules)], "rule")} FROM typed
)
SELECT kafka_offset, kafka_timestamp_us, key, value, COLUMNS('^(f_|p_).*'), properties,
       {_by_rule([_quote(reason) for _, reason, _, _ in rules], "reason")},
       {_by_rule([_quote(name) for _, _, name, _ in rules], "field")},
       {_by_rule([found for _, _, _, found in rules], "found")}
FROM judged
"""


def _expressions(field: MappedField, position: dict[str, int], mapping: Mapping) -> _Expressions:
    places = [position[pointer] for pointer in field.pointers]
    text = _first(f"x[{place}]" for place in places)
    # The type of the same pointer that gave the text: the first one that is neither missing nor null.
    kind = _first(f"CASE WHEN x[{place}] IS NOT NULL THEN t[{place}] END" for place in places)
    value, fits = _typed(field, text, kind, mapping)
    if field.default is not None:
        value = f"coalesce({value}, {_quote(field.default)})"
    if field.otherwise == "received":
        value = f"CASE WHEN {text} IS NULL THEN kafka_timestamp_us ELSE {value} END"
    return _Expressions(field, text, kind, value, fits)


def _typed(field: MappedField, text: str, kind: str, mapping: Mapping) -> tuple[str, str]:
    if field.kind == "string":
        return text, f"{kind} = 'VARCHAR'"
    if field.kind == "scalar":
        return text, f"{kind} IN {SCALARS}"
    if field.kind == "number":
        number = f"try_cast({text} AS DOUBLE)"
        return number, f"{kind} IN {NUMBERS} AND coalesce(isfinite({number}), false)"
    if mapping.time_format == "iso8601":
        dated = f"CASE WHEN regexp_full_match({text}, {_quote(ISO_INSTANT)}) THEN {text} END"
        instant = f"epoch_us(try_cast({dated} AS TIMESTAMPTZ))"
        return instant, f"{kind} = 'VARCHAR' AND {instant} IS NOT NULL"
    number = f"try_cast({text} AS DOUBLE)"
    if mapping.time_format == "epoch_us":
        instant = f"try_cast({text} AS BIGINT)"
    else:
        instant = f"try_cast({number} * {EPOCH_UNITS[mapping.time_format]} AS BIGINT)"
    return instant, f"{kind} IN {NUMBERS} AND {instant} IS NOT NULL"


def _rules(
    expressions: list[_Expressions], mapping: Mapping, calendar: TradingCalendar, position: int | None
) -> list[tuple[str, str, str, str]]:
    """What breaks the contract, in the order it is asked: condition, reason, field, SQL of what was found."""
    rules = [
        ("value IS NULL", "empty_message", "", "NULL"),
        ("body IS NULL", "not_utf8", "", "NULL"),
        ("NOT is_json", "not_json", "", "left(body, 60)"),
        ("shape <> 'OBJECT'", "not_an_object", "", "shape"),
    ]
    for e in expressions:
        name, shown = e.field.name, f"{e.kind} || ' ' || left({e.text}, 60)"
        if e.field.otherwise == "received":
            rules.append((f"{e.text} IS NULL AND kafka_timestamp_us IS NULL", "missing_field", name, "NULL"))
        elif e.field.required and e.field.otherwise is None:
            rules.append((f"{e.text} IS NULL", "missing_field", name, "NULL"))
            rules.append((f"{e.text} = ''", "missing_field", name, "'an empty string'"))
        rules.append((f"{e.text} IS NOT NULL AND NOT coalesce({e.fits}, false)", "wrong_type", name, shown))
    if mapping.properties_object:
        shape, text = f"t[{position}]", f"x[{position}]"
        condition = f"{text} IS NOT NULL AND {shape} <> 'OBJECT'"
        rules.append((condition, "wrong_type", "properties", f"{shape} || ' ' || left({text}, 60)"))
    rules += [(broken(c, "document"), "broken_check", c.at, found(c, "document")) for c in mapping.checks]
    instant = f"{FIELD_PREFIX}event_time"
    tolerance = mapping.future_tolerance_s * 1_000_000
    text = next(e.text for e in expressions if e.field.name == "event_time")
    too_late = (
        f"{instant} > least(least(coalesce(kafka_timestamp_us, {LATEST_US}), {LATEST_US}) + {tolerance}, {LATEST_US})"
    )
    shown = f"left({text}, 60)"
    before, after = f"' is before {mapping.earliest}'", "' is far after Kafka received the message'"
    rules.append((f"{instant} < {mapping.earliest_us}", "absurd_time", "event_time", f"{shown} || {before}"))
    rules.append((too_late, "absurd_time", "event_time", f"{shown} || {after}"))
    known_from, known_until = (int(at.timestamp()) * 1_000_000 for at in (calendar.known_from, calendar.known_until))
    unknown = f"{instant} < {known_from} OR {instant} >= {known_until}"
    rules.append((unknown, "no_trading_day", "event_time", shown))
    texts = [e.text for e in expressions if e.field.kind in ("string", "scalar")]
    texts += [f"x[{position}]"] if mapping.properties_object else []
    size = " + ".join(f"coalesce(strlen({text}), 0)" for text in texts)
    rules.append((f"{size} > {MOST_TEXT}", "too_large", "", f"format('{{:,}}', {size})"))
    for e in (e for e in expressions if e.field in mapping.fields):
        if longest := LONGEST.get(e.field.name):
            units = f"length({e.text}) + length(regexp_replace({e.text}, '{BEYOND_16_BITS}', '', 'g'))"
            # Bytes first: they are cheaper to count, and never fewer.
            too_long = f"strlen({e.text}) > {longest} AND {units} > {longest}"
            rules.append((too_long, "too_large", e.field.name, f"CAST({units} AS VARCHAR)"))
    return rules


def _forgiven(text: str) -> str:
    doubt = " OR ".join(f"regexp_matches({text}, {_quote(pattern)})" for pattern in DOUBTS)
    return f"CASE WHEN {doubt} THEN regexp_matches({text}, {_quote(FORGIVEN)}) ELSE false END"


def _by_rule(expressions: list[str], name: str) -> str:
    return _case([(f"rule = {number}", expression) for number, expression in enumerate(expressions)], name)


def _case(branches: list[tuple[str, str]], name: str) -> str:
    return "CASE " + " ".join(f"WHEN {condition} THEN {then}" for condition, then in branches) + f" END AS {name}"


def _first(expressions: Iterable[str]) -> str:
    parts = list(expressions)
    if not parts:
        return "NULL::VARCHAR"
    return parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})"


def _list(position: dict[str, int]) -> str:
    return "[" + ", ".join(_quote(pointer) for pointer in position) + "]"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
