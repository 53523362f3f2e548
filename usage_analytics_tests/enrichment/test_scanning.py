"""The scanner in C is never different from the SQL: with it and without it, the same rows, to the last bit."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fakes import KEY, RECEIVED, TOPIC, message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from usage_analytics.contract import Mapping, load_mapping, parse_mapping
from usage_analytics.enrichment import judge as judge_module
from usage_analytics.enrichment import scanning
from usage_analytics.enrichment.judge import Judge
from usage_analytics.enrichment.judgement_query import MOST_TEXT
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.trading_calendar import trading_calendar

CALENDAR = trading_calendar()
CONTRACT = load_mapping("usage_event")
NESTED = """
name = "nested"
version = 1
[time]
format = "{format}"
[fields]
event_id = {{ pointer = "/id", kind = "scalar" }}
event_time = ["/a/at", "/at"]
user = ["/a/b/who", "/who"]
mini_app = "/a/app"
action = {{ pointer = "/a/b/action", default = "open" }}
latency_ms = ["/a/ms", "/ms"]
[properties]
all_of = "/rest"
picked = "/a/b/picked"
"""
# Values that parsers disagree about.
ODD = [
    "0", "-0", "-0.0", "1.0", "1.50", "1e3", "1E-7", "0.0001", "0.00001", "1e400", "123456789012345678",
    "1234567890123456789", "18446744073709551616", "12345678.12345678", "0.1234567890123456", "01", "1.", ".5", "+1",
    "NaN", "Infinity", "-", "true", "false", "null", "nul", '""', '"a\\u0041"', '"\\ud83d\\ude00"', '"\\ud83d"',
    '"\\x"', '"tab\t"', '"é"', '"\ud7ff\ue000"', "{}", "[]", "[1,]", '{"a":1,}', '{"a":1,"a":2}', '{ "a" : 1 }',
    '{"a":1.50}', '{"a":"\\/"}', '{"a":[1,{"b":"\\u0000"}]}', '"2026-11-23T14:59:00Z"', '"2026-11-23 14:59:00"',
    '"2026-11-23T14:59:00.123456+01:00"', '"2026-11-23T14:59:00.1234567Z"', '"2026-11-23T24:00:00Z"',
    '"2026-02-29T14:59:00Z"', '"2024-02-29T14:59:00Z"', '"2026-11-23T14:59:60Z"', '"2026-11-23T14:59Z"',
    '"2026-11-23T14:59:00+18:00"', '"2026-11-23T14:59:00-17:59"', '"1969-12-31T23:59:59Z"', '"2009-12-31T23:59:59Z"',
    '"2041-01-01T00:00:00Z"', '"9999-12-31T23:59:59Z"', "1795445940", "1795445940.5", "1795445940123",
    "1795445940123456", "1795445940123456789", "-1", '"1795445940"',
]  # fmt: skip


def mapping_of(text: str, time_format: str = "iso8601") -> Mapping:
    return parse_mapping(text.format(format=time_format), "nested.toml")


RECEIVED_US = int(RECEIVED.timestamp() * 1e6)


def batch_of(*values: bytes | None, received: int | None = RECEIVED_US) -> pa.RecordBatch:
    count = len(values)
    columns = [range(count), [received] * count, [b"key"] * count, values, [None] * count]
    arrays = [pa.array(column, type_) for column, type_ in zip(columns, RAW_SCHEMA.types, strict=True)]
    return pa.record_batch(arrays, schema=RAW_SCHEMA)


def judge(mapping: Mapping, by_sql_alone: bool = False) -> Judge:
    with pytest.MonkeyPatch.context() as patch:
        if by_sql_alone:
            patch.setattr(judge_module, "scanner", lambda mapping, calendar: None)
        return Judge(mapping, CALENDAR, KEY, 100)


def assert_the_same(mapping: Mapping, *values: bytes | None, received: int | None = RECEIVED_US) -> int:
    """With and without the scanner the rows are equal; how many messages the scanner took."""
    batch = batch_of(*values, received=received)
    fast, slow = judge(mapping), judge(mapping, by_sql_alone=True)
    found, expected = fast.judge([batch], TOPIC, 3), slow.judge([batch], TOPIC, 3)
    for mine, oracle in zip(found, expected, strict=True):
        assert mine.to_pylist() == oracle.to_pylist()
        assert mine.schema == oracle.schema
    taken = scanning.scanner(mapping, CALENDAR)
    if taken is None:
        pytest.skip("the scanner was not compiled: no C compiler was there at installation")
    return len(taken.scan(batch).rows)


def with_value(name: str, value: str) -> bytes:
    """A good message in which one field has another value, as JSON text."""
    fields = {k: json.dumps(v) for k, v in json.loads(message()).items()} | {name: value}
    return ("{" + ",".join(f'"{k}":{v}' for k, v in fields.items()) + "}").encode("utf-8", "surrogatepass")


def test_plain_messages_are_taken() -> None:
    values = [
        message(), message(properties=...), message(latency_ms=...), message(action=...), message(client_firm=None),
        message(client_firm="FIRM").replace(b"FIRM", "Société Générale".encode()), message(latency_ms=7),
        message(properties={"a": [1, 2.5, "x", None, True], "b": {"c": ""}}), message(screen=""),
        message(properties={"instrument": "IBM", "payload_bytes": 2048}), message(properties={"instrument": 7}),
        message(event_time="2026-11-23T09:59:00.25-05:00"), message(extra={"deep": [[[{"x": "\\ \" ü"}]]]}),
    ]  # fmt: skip
    assert assert_the_same(CONTRACT, *values) == len(values)


def test_messages_about_as_large_as_may_be_are_judged_alike() -> None:
    sizes = [MOST_TEXT - 100, *range(MOST_TEXT - 40, MOST_TEXT - 30), MOST_TEXT + 1]
    assert assert_the_same(CONTRACT, *(message(properties={"p": "x" * size}) for size in sizes)) > 0


@pytest.mark.parametrize("field", ["event_id", "event_time", "user", "mini_app", "action", "latency_ms", "properties"])
def test_odd_values_are_judged_alike(field: str) -> None:
    assert_the_same(CONTRACT, *(with_value(field, value) for value in ODD), message())


@pytest.mark.parametrize("key", ["instrument", "payload_bytes"])
def test_odd_values_among_the_properties_are_judged_alike(key: str) -> None:
    values = [with_value("properties", f'{{"a":1,"{key}":{value},"b":{{"{key}":2}}}}') for value in ODD]
    again = with_value("properties", f'{{"{key}":3,"{key}":4}}')
    longest = [message(properties={key: "x" * length}) for length in (399, 400, 401)]
    assert_the_same(CONTRACT, *values, again, *longest)


@pytest.mark.parametrize("time_format", ["iso8601", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"])
def test_odd_times_are_judged_alike(time_format: str) -> None:
    text = '{{"id":1,"who":"w","a":{{"app":"x","at":{value}}}}}'
    values = [text.format(value=value).encode("utf-8", "surrogatepass") for value in ODD]
    assert_the_same(mapping_of(NESTED, time_format), *values)
    assert_the_same(mapping_of(NESTED, time_format), *values, received=None)


def test_pointers_are_tried_in_their_order_and_parents_may_be_anything() -> None:
    good = {"id": 7, "at": "2026-11-23T14:59:00Z", "who": "w", "a": {"app": "x", "b": {"action": "go", "picked": 3}}}
    variants: list[Any] = [
        good, {**good, "id": "seven"}, {**good, "id": True}, {**good, "id": 1.25}, {**good, "id": [1]},
        {**good, "a": {"app": "x", "b": None}}, {**good, "a": {"app": "x", "b": "text"}}, {**good, "a": {"app": "x"}},
        {**good, "a": [1]}, {**good, "a": None}, {**good, "rest": {"k": 1}}, {**good, "rest": None},
        {**good, "rest": 4},
        {**good, "a": {"app": "x", "at": None, "b": {"who": None}}}, {**good, "a": {"app": "x", "at": 1}},
        {**good, "a": {"app": "x", "b": {"who": "first"}}, "who": "second"}, {**good, "who": ""},
    ]  # fmt: skip
    values = [json.dumps(each, separators=(",", ":")).encode() for each in variants]
    values += [
        b'{"id":1,"at":"2026-11-23T14:59:00Z","who":"w","a":{"app":"x"},"a":{"app":"y"}}',
        b'{"id":1,"at":"2026-11-23T14:59:00Z","who":"w","\\u0061":{"app":"x"}}',
        b' {"id":1,"at":"2026-11-23T14:59:00Z","who":"w","a":{"app":"x"}} ',
        b'{"id":1,"at":"2026-11-23T14:59:00Z","who":"w","a":{"app":"x"}}{}',
        b"", b"   ", b"null", b"[]", b"{", b"\xef\xbb\xbf{}", b"{}\x00", b'{"a":' * 300, b"[" * 100_000,
    ]  # fmt: skip
    assert assert_the_same(mapping_of(NESTED), *values, None) >= 8


@pytest.mark.parametrize("by_sql_alone", [False, True])
def test_of_repeated_keys_the_first_counts(by_sql_alone: bool) -> None:
    again = message()[:-1] + b', "screen": "second"}'
    kept = message(properties={"x": 1}).replace(b'"x": 1', b'"x": 1, "x": 2')
    nulled = message().replace(b'"user": "mary"', b'"user": null, "user": "mary"')
    events, letters = judge(CONTRACT, by_sql_alone).judge([batch_of(again, kept, nulled)], TOPIC, 3)
    assert events.column("screen").to_pylist() == ["main", "main"]
    assert events.column("properties")[1].as_py() == '{"x":1,"x":2}'
    assert letters.column("detail").to_pylist() == ["user is missing: nothing at /user"]


def test_every_cut_and_every_changed_byte_is_judged_alike() -> None:
    whole = message(client_firm="Crédit", properties={"n": -1.5, "s": 'q"\\'})
    cuts = [whole[:length] for length in range(len(whole))]
    changed = [
        whole[:n] + bytes([byte]) + whole[n + 1 :] for n in range(len(whole)) for byte in (0x00, 0x22, 0x7B, 0xC3)
    ]
    assert_the_same(CONTRACT, *cuts, *changed)


def test_the_json_test_suite_is_judged_alike(shared_data: Path) -> None:
    """Each file as a message, and as the properties of one."""
    files = [path.read_bytes() for path in sorted((shared_data / "jsontestsuite").rglob("*.json"))]
    assert len(files) > 300
    head, _, tail = message(properties="HERE").partition(b'"HERE"')
    assert_the_same(CONTRACT, *files)
    assert_the_same(CONTRACT, *(head + content + tail for content in files))


def test_recorded_events_are_judged_alike_and_mostly_taken(shared_data: Path) -> None:
    lines = (shared_data / "wikipedia_app_events" / "events.ndjson").read_bytes().splitlines()[:2_000]
    assert assert_the_same(load_mapping("wikipedia_app_events"), *lines) > 1_500


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=True), st.text(max_size=8),
    st.sampled_from(["2026-11-23T14:59:00Z", "2026-11-23T14:59:00.5+05:30", "quotes", ""]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
NAMES = st.sampled_from(["event_id", "event_time", "user", "mini_app", "latency_ms", "properties", "action", "other"])


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.dictionaries(NAMES, VALUES, max_size=4), st.booleans(), st.booleans()), min_size=1, max_size=8
    )
)
@example([({"properties": {"a": 1.0}}, False, True)])
def test_any_json_is_judged_alike(changes: list[tuple[dict[str, Any], bool, bool]]) -> None:
    values = []
    for change, ascii_, compact in changes:
        document = {**json.loads(message()), **change}
        separators = (",", ":") if compact else None
        values.append(json.dumps(document, ensure_ascii=ascii_, separators=separators).encode("utf-8", "surrogatepass"))
    assert_the_same(CONTRACT, *values)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=40), max_size=10), st.integers(0, 200))
def test_any_bytes_are_judged_alike(values: list[bytes], place: int) -> None:
    whole = message()
    spliced = [whole[:place] + value + whole[place:] for value in values]
    assert_the_same(CONTRACT, *values, *spliced)


def test_without_the_compiled_part_the_sql_judges_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scanning, "__file__", str(tmp_path / "scanning.py"))
    scanning.compiled.cache_clear()
    try:
        assert scanning.scanner(CONTRACT, CALENDAR) is None
        good, bad = judge(CONTRACT).judge([batch_of(message(), b"{")], TOPIC, 0)
        assert (good.num_rows, bad.num_rows) == (1, 1)
    finally:
        scanning.compiled.cache_clear()


def test_a_mapping_with_a_place_in_a_list_is_left_to_the_sql() -> None:
    in_a_list = NESTED.replace("/a/app", "/a/0/app")
    assert scanning.scanner(mapping_of(in_a_list), CALENDAR) is None
