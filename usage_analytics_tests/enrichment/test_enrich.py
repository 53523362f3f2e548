"""Enrichment: a pure function of a chunk; every broken message is kept whole, with its place and reason."""

import dataclasses
import json
import math
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fakes import KEY, OPEN, RECEIVED, TOPIC, FakeKafka, land_all, memory_folder, message
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.contract import Mapping, load_mapping, parse_mapping
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.enrichment.enriched_chunk import EnrichedChunk, read_enriched
from usage_analytics.enrichment.pseudonyms import key_fingerprint, pseudonym
from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import TradingClock, trading_calendar

CALENDAR = trading_calendar()
CONTRACT = load_mapping("usage_event")
MINIMAL = """
name = "mine"
version = 1
[time]
format = "{format}"
timezone = "{timezone}"
[fields]
event_id = "/event_id"
event_time = "/event_time"
user = "/user"
mini_app = "/mini_app"
[properties]
{properties}
"""


def mapping_of(format: str = "iso8601", timezone: str = "UTC", properties: str = "") -> Mapping:
    return parse_mapping(MINIMAL.format(format=format, timezone=timezone, properties=properties), "mine.toml")


def enricher(layout: Layout, mapping: Mapping = CONTRACT, key: bytes = KEY, batch_messages: int = 1_000) -> Enricher:
    return Enricher(layout, mapping, CALENDAR, key, batch_messages)


def landed(folder: Path, *values: bytes | None, received: datetime | None = RECEIVED) -> tuple[Layout, ChunkRecord]:
    kafka, layout = FakeKafka.of(1), Layout(folder, TOPIC)
    kafka.received = received
    kafka.produce(0, *values, key=b"k")
    return layout, land_all(kafka, layout)[0]


def outcome(
    folder: Path, *values: bytes | None, mapping: Mapping = CONTRACT, received: datetime | None = RECEIVED
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Usage events and dead letters, as rows, of messages that are landed and enriched."""
    layout, record = landed(folder, *values, received=received)
    [chunk] = enricher(layout, mapping).enrich([record]).chunks
    events, letters = pq.read_table(chunk.path).to_pylist(), []
    if chunk.dead_letters:
        letters = pq.read_table(layout.dead_letters(record.window, record.name)).to_pylist()
    assert (chunk.rows, chunk.dead_letters) == (len(events), len(letters))
    assert chunk.rows + chunk.dead_letters == record.rows
    return events, letters


def test_a_good_message_becomes_a_usage_event(memory_path: Path) -> None:
    [event], letters = outcome(memory_path, message())
    assert letters == []
    at = datetime(2026, 11, 23, 14, 59, tzinfo=UTC)
    assert event == {
        "event_id": "e1", "event_time_us": int(at.timestamp() * 1e6), "trading_day": date(2026, 11, 23),
        "phase": "opening", "user_id": pseudonym(KEY, "mary"), "client_firm": "acme", "user_session": "s1",
        "mini_app": "quotes", "action": "click", "screen": "main", "latency_ms": 12.5,
        "properties": '{"ticker":"IBM"}', "topic": TOPIC, "kafka_partition": 0, "kafka_offset": 0,
        "kafka_timestamp_us": int(RECEIVED.timestamp() * 1e6), "entity": None, "payload_bytes": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("properties", "entity", "payload_bytes"),
    [
        ({"instrument": "IBM", "payload_bytes": 2048}, "IBM", 2048.0),
        ({"instrument": 4711, "payload_bytes": 0.5}, "4711", 0.5),
        ({"instrument": "", "payload_bytes": None}, "", None),
        ({"instrument": None, "payload_bytes": -1}, None, -1.0),  # whether it counts, the marts say
    ],
)
def test_what_was_used_and_what_was_fetched_are_taken_from_the_properties(
    properties: dict[str, Any], entity: str | None, payload_bytes: float | None, memory_path: Path
) -> None:
    [event], letters = outcome(memory_path, message(properties=properties))
    assert letters == []
    assert (event["entity"], event["payload_bytes"]) == (entity, payload_bytes)
    assert json.loads(event["properties"]) == properties


@pytest.mark.parametrize("changes", [{"properties": {"p": "x" * 150_000}}, {"event_id": "x" * 150_000 + '"'}])
def test_a_message_too_large_for_the_warehouse_is_a_dead_letter(changes: dict[str, Any], memory_path: Path) -> None:
    # DuckDB holds 2,048 rows at once: of 4 MB each, they would make every load of their window fail.
    large = message(**changes)
    events, [letter] = outcome(memory_path, message(extra="x" * 150_000), large, message())
    assert [event["kafka_offset"] for event in events] == [0, 2]
    assert (letter["reason"], letter["field"], letter["value"]) == ("too_large", None, large)
    assert letter["detail"].startswith("the mapping reads 150,0")
    assert letter["detail"].endswith(" bytes of text from it; a usage event holds at most 131,072")


@pytest.mark.parametrize("text", ["x" * 200, "€" * 200, "𝄞" * 100])
def test_a_field_longer_than_its_column_is_a_dead_letter(text: str, memory_path: Path) -> None:
    fits, longer = message(mini_app=text, screen=text * 2), message(mini_app=text + "y")
    events, [letter] = outcome(memory_path, fits, longer)
    assert [(event["mini_app"], event["screen"]) for event in events] == [(text, text * 2)]
    assert (letter["reason"], letter["field"], letter["value"]) == ("too_large", "mini_app", longer)
    told = "mini_app at /mini_app has 201 characters; a usage event holds at most 200 of it"
    assert letter["detail"] == told


def test_optional_fields_may_be_absent_or_null_and_the_default_steps_in(memory_path: Path) -> None:
    names = ("client_firm", "user_session", "action", "screen", "latency_ms", "properties", "entity", "payload_bytes")
    for folder, value in (("absent", ...), ("null", None)):
        [event], letters = outcome(memory_path / folder, message(**dict.fromkeys(names, value)))
        assert letters == []
        assert [event[name] for name in names] == [None, None, "open", None, None, None, None, None]


BROKEN: dict[str, tuple[bytes | None, str, str | None, str]] = {
    "tombstone": (None, "empty_message", None, "the message is empty (a tombstone)"),
    "not UTF-8": (b'{"event_id":"\xff"}', "not_utf8", None, "the message is not UTF-8 text: byte 13 is 0xff"),
    "no JSON": (b"hello", "not_json", None, "the message is not JSON (Expecting value at byte 0): hello"),
    "empty text": (b"", "not_json", None, "the message is not JSON (Expecting value at byte 0): "),
    "with a mark": (b"\xef\xbb\xbf" + message(), "not_json", None, "not JSON (it begins with a byte order mark, BOM)"),
    "UTF-16": ("{}".encode("utf-16"), "not_utf8", None, "it begins with a byte order mark of UTF-16"),
    "beyond ASCII": ('{"a":"é",}'.encode(), "not_json", None, "enclosed in double quotes at byte 10): {"),
    "too deep": (b"[" * 100_000, "not_json", None, "the message is not JSON (nested too deeply): [[["),
    "cut short": (message()[:-1], "not_json", None, "(Expecting ',' delimiter at byte "),
    "two documents": (message() + b"\n" + message(), "not_json", None, "(Extra data at byte "),
    "an array": (b"[1]", "not_an_object", None, "expected a JSON object, found list"),
    "a text": (b'"x"', "not_an_object", None, "expected a JSON object, found string"),
    "null": (b"null", "not_an_object", None, "expected a JSON object, found null"),
    "no user": (message(user=...), "missing_field", "user", "user is missing: nothing at /user"),
    "null user": (message(user=None), "missing_field", "user", "user is missing: nothing at /user"),
    "empty user": (message(user=""), "missing_field", "user", "user is missing: an empty string at /user"),
    "no id": (message(event_id=...), "missing_field", "event_id", "event_id is missing: nothing at /event_id"),
    "no time": (message(event_time=...), "missing_field", "event_time", "is missing: nothing at /event_time"),
    "no mini-app": (message(mini_app=...), "missing_field", "mini_app", "mini_app is missing: nothing at /mini_app"),
    "id a number": (
        message(event_id=5), "wrong_type", "event_id",
        'event_id at /event_id: expected string, found number 5 (kind = "scalar" would take it)',
    ),
    "user an object": (
        message(user={"id": 1}), "wrong_type", "user", "user at /user: expected string, found object {\"id\":1}",
    ),
    "firm an array": (message(client_firm=[]), "wrong_type", "client_firm", "expected string, found list []"),
    "latency a text": (message(latency_ms="5"), "wrong_type", "latency_ms", "expected number, found string 5"),
    "latency a truth": (message(latency_ms=True), "wrong_type", "latency_ms", "expected number, found boolean true"),
    "latency not a number": (message(latency_ms=math.nan), "not_json", None, "(NaN is no number of JSON): {"),
    "latency not finite": (
        message().replace(b"12.5", b"1e999"), "wrong_type", "latency_ms", "expected number, found number 1e999",
    ),
    "entity a list": (
        message(properties={"instrument": ["IBM"]}), "wrong_type", "entity",
        'entity at /properties/instrument: expected scalar, found list ["IBM"]',
    ),
    "payload a text": (
        message(properties={"payload_bytes": "2 kB"}), "wrong_type", "payload_bytes",
        "payload_bytes at /properties/payload_bytes: expected number, found string 2 kB",
    ),
    "properties a text": (
        message(properties="x"), "wrong_type", "properties", "/properties: expected object, found string x",
    ),
    "time a number": (message(event_time=5), "wrong_type", "event_time", "expected instant (iso8601), found number 5"),
    "time a word": (message(event_time="now"), "wrong_type", "event_time", "(iso8601), found string now"),
    "time infinite": (message(event_time="infinity"), "wrong_type", "event_time", "(iso8601), found string i"),
    "no such day": (
        message(event_time="2026-02-30T10:00:00Z"), "wrong_type", "event_time", "(iso8601), found string 2026",
    ),
    "long ago": (
        message(event_time="2009-12-31T23:59:59Z"), "absurd_time", "event_time",
        "event_time 2009-12-31T23:59:59Z is before 2010-01-01",
    ),
    "far ahead": (message(event_time="2026-11-24T15:00:01Z"), "absurd_time", "event_time", "far after Kafka received"),
    "end of time": (message(event_time="9999-12-31T23:59:59Z"), "absurd_time", "event_time", "far after Kafka"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_message_is_a_dead_letter_and_its_neighbours_are_not(kind: str, memory_path: Path) -> None:
    value, reason, field, sentence = BROKEN[kind]
    events, [letter] = outcome(memory_path, message(event_id="before"), value, message(event_id="after"))
    assert [(e["event_id"], e["kafka_offset"]) for e in events] == [("before", 0), ("after", 2)]
    assert (letter["reason"], letter["field"]) == (reason, field)
    assert sentence in letter["detail"]
    assert (letter["topic"], letter["kafka_partition"], letter["kafka_offset"]) == (TOPIC, 0, 1)
    assert (letter["key"], letter["value"]) == (b"k", value)


@pytest.mark.parametrize("time", ["2010-01-01T00:00:00Z", "2026-11-24T15:00:00Z", "2010-01-04T12:59:59Z"])
def test_times_just_credible(time: str, memory_path: Path) -> None:
    [event], _ = outcome(memory_path, message(event_time=time))
    assert event["event_time_us"] == int(datetime.fromisoformat(time).timestamp() * 1e6)
    assert event["trading_day"] == CALENDAR.trading_day_at(datetime.fromisoformat(time))


@pytest.mark.parametrize("time", ["2999-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_absurd_times_are_found_without_a_time_from_kafka(time: str, memory_path: Path) -> None:
    events, letters = outcome(memory_path, message(event_time=time), message(), received=None)
    assert [letter["reason"] for letter in letters] == ["absurd_time"]
    assert [event["kafka_offset"] for event in events] == [1]


@pytest.mark.parametrize(
    ("time", "known"),
    [
        ("2021-01-03T04:59:59Z", False),  # the first trading day that is known of XSAU starts then at 08:00 in Riyadh
        ("2021-01-03T05:00:00Z", True),
        ("2030-01-01T04:59:59Z", True),
        ("2030-01-01T05:00:00Z", False),
    ],
)
def test_event_in_no_known_trading_day_is_a_dead_letter(time: str, known: bool, memory_path: Path) -> None:
    calendar = trading_calendar(TradingClock(exchange="XSAU", timezone="Asia/Riyadh"))
    layout, record = landed(memory_path, message(event_time=time), received=None)
    [chunk] = Enricher(layout, CONTRACT, calendar, KEY, 1_000).enrich([record]).chunks
    assert (chunk.rows, chunk.reasons) == ((1, {}) if known else (0, {"no_trading_day": 1}))
    if not known:
        [letter] = pq.read_table(layout.dead_letters(record.window, record.name)).to_pylist()
        assert letter["detail"] == f"event_time {time} is in no trading day known of XSAU"


def test_trading_days_that_became_known_are_enriched_anew(memory_path: Path) -> None:
    # A newer exchange_calendars knows more sessions, or other ones: the same bytes must come out as from the start.
    layout, record = landed(memory_path, message())
    today = CALENDAR.trading_day_at(datetime(2026, 11, 23, 14, 59, tzinfo=UTC))
    less = [(s, b) for s, b in zip(CALENDAR.sessions, CALENDAR._day_bounds, strict=False) if s.day <= today]
    sessions, bounds = zip(*less[:-1], strict=True)
    older = dataclasses.replace(CALENDAR, sessions=sessions, _day_bounds=(*bounds, less[-1][1]))
    counts = []
    for calendar in (older, CALENDAR, CALENDAR):
        report = Enricher(layout, CONTRACT, calendar, KEY, 1_000).enrich([record])
        counts.append((report.rows, report.dead_letters, report.enriched_now))
    assert counts == [(0, 1, 1), (1, 0, 1), (1, 0, 0)]


@pytest.mark.parametrize(
    ("format", "value", "expected_us"),
    [
        ("iso8601", "2026-11-23T14:59:00Z", 0),
        ("iso8601", "2026-11-23T09:59:00-05:00", 0),
        ("iso8601", "2026-11-23 14:59:00.000007", 7),
        ("iso8601", "2026-11-23T14:59:00.123456789Z", 123_456),
        ("epoch_s", 1_795_445_940, 0),
        ("epoch_s", 1_795_445_940.5, 500_000),
        ("epoch_ms", 1_795_445_940_001, 1_000),
        ("epoch_us", 1_795_445_940_000_001, 1),
        ("epoch_ns", 1_795_445_940_000_000_000, 0),
    ],
)
def test_time_formats(format: str, value: str | float, expected_us: int, memory_path: Path) -> None:
    [event], letters = outcome(memory_path, message(event_time=value), mapping=mapping_of(format))
    assert letters == []
    assert event["event_time_us"] == 1_795_445_940_000_000 + expected_us


@pytest.mark.parametrize(
    ("format", "value", "sentence"),
    [
        ("epoch_ms", 1_795_445_457, "1795445457 is before 2010-01-01: seconds, where the mapping says epoch_ms?"),
        (
            "epoch_s",
            1_795_445_457_000,
            "after Kafka received the message: milliseconds, where the mapping says epoch_s?",
        ),
        ("epoch_s", 1_795_445_457_000_000, "expected instant (epoch_s), found number 1795445457000000: microseconds, "),
        ("iso8601", 1_795_445_457, "found number 1795445457: seconds, where the mapping says iso8601?"),
        ("epoch_ms", 7, "event_time 7 is before 2010-01-01"),
        ("epoch_ms", "1795445457000", "expected instant (epoch_ms), found string 1795445457000"),
    ],
)
def test_a_time_by_another_unit_is_told(format: str, value: int | str, sentence: str, memory_path: Path) -> None:
    _, [letter] = outcome(memory_path, message(event_time=value), mapping=mapping_of(format))
    assert sentence in letter["detail"]
    assert letter["detail"].endswith("?") == ("where the mapping says" in letter["detail"])


@pytest.mark.parametrize("format", ["epoch_s", "epoch_ms", "epoch_us", "epoch_ns"])
@pytest.mark.parametrize("value", ["1795445940", True, 10**30, -(10**30), 9 * 10**18, -1])
def test_broken_epochs_are_dead_letters(format: str, value: object, memory_path: Path) -> None:
    mapping = mapping_of(format)
    for folder, received in (("with", RECEIVED), ("without", None)):
        events, letters = outcome(memory_path / folder, message(event_time=value), mapping=mapping, received=received)
        plausible = format == "epoch_ns" and value == 9 * 10**18  # the year 2255
        assert events == []
        assert letters[0]["reason"] in (("absurd_time",) if plausible else ("wrong_type", "absurd_time"))


def test_times_without_an_offset_are_read_in_the_mappings_time_zone(memory_path: Path) -> None:
    value = message(event_time="2026-11-23T09:59:00")
    [event], _ = outcome(memory_path, value, mapping=mapping_of(timezone="America/New_York"))
    assert event["event_time_us"] == 1_795_445_940_000_000


@pytest.mark.parametrize("name", ["desk", "order", "select", "whole", "1st", "event_id", "user", "p_x"])
def test_any_name_of_a_property_works(name: str, memory_path: Path) -> None:
    mapping = mapping_of(properties=f'{name} = "/desk"\nother = {{ pointer = "/n" }}\nall_of = "/properties"')
    [event], _ = outcome(memory_path, message(desk="rates", n=4), mapping=mapping)
    assert json.loads(event["properties"]) == {"ticker": "IBM", name: "rates", "other": "4"}


@pytest.mark.parametrize("unusual", ["", '"'])  # an escape is left to the SQL
def test_a_pick_that_is_not_there_leaves_what_the_message_has_of_its_name(unusual: str, memory_path: Path) -> None:
    picks = 'all_of = "/properties"\nz = "/z"\nn = { pointer = "/n", kind = "number" }'
    own = {"z": 7, "n": "own", "k": {"deep": None}}
    messages = [message(properties=own, **more, screen=unusual) for more in ({}, {"z": None}, {"z": "picked", "n": 2})]
    events, _ = outcome(memory_path, *messages, message(properties=...), mapping=mapping_of(properties=picks))
    found = [json.loads(event["properties"]) for event in events]
    assert found == [own, own, {**own, "z": "picked", "n": 2.0}, {}]


def test_same_chunk_gives_the_same_bytes_whatever_the_batches(memory_path: Path) -> None:
    values = [message(event_id=str(n)) if n % 7 else b"broken" for n in range(200)]
    written = []
    for batch_messages in (1_000, 1_000, 13):
        layout, record = landed(memory_path / str(len(written)), *values)
        [chunk] = enricher(layout, batch_messages=batch_messages).enrich([record]).chunks
        letters = layout.dead_letters(record.window, record.name)
        written.append((chunk.path, letters))
    for kind in (0, 1):
        assert written[0][kind].read_bytes() == written[1][kind].read_bytes()
        assert pq.read_table(written[0][kind]).equals(pq.read_table(written[2][kind]))


def test_work_already_done_is_kept_and_a_changed_contract_is_computed_again(memory_path: Path) -> None:
    layout, record = landed(memory_path, message(), b"broken")
    assert enricher(layout).enrich([record]).enriched_now == 1
    again = enricher(layout).enrich([record])
    assert (again.enriched_now, again.rows, again.dead_letters, again.reasons) == (0, 1, 1, {"not_json": 1})
    first = again.chunks[0].fingerprint

    changed = parse_mapping(MINIMAL.format(format="iso8601", timezone="UTC", properties="").replace(
        'mini_app = "/mini_app"', 'mini_app = "/screen"'), "mine.toml")  # fmt: skip
    report = enricher(layout, changed).enrich([record])
    assert report.enriched_now == 1
    assert report.chunks[0].fingerprint != first
    assert pq.read_table(report.chunks[0].path).column("mini_app").to_pylist() == ["main"]
    assert enricher(layout, changed, key=b"another key, also long").enrich([record]).enriched_now == 1


def test_dead_letters_vanish_when_a_new_contract_accepts_the_messages(memory_path: Path) -> None:
    layout, record = landed(memory_path, message(latency_ms="slow"))
    assert enricher(layout).enrich([record]).dead_letters == 1
    assert enricher(layout, mapping_of()).enrich([record]).dead_letters == 0
    assert not layout.dead_letters(record.window, record.name).exists()


def test_a_damaged_raw_chunk_gives_no_events(memory_path: Path) -> None:
    layout, record = landed(memory_path, message())
    layout.raw_chunk(record.window, record.file).unlink()
    sentence = (
        f"chunk {record.name} in window {OPEN.key}: its file is gone; materialize raw_messages of that window from "
        "2026-11-23 15:30 UTC on: it is then read again from Kafka"
    )
    with pytest.raises(UserError, match=re.escape(sentence)):
        enricher(layout).enrich([record])
    assert read_enriched(layout, record) is None


def test_a_chunk_without_messages_is_judged_too(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(1), Layout(memory_path, TOPIC)
    kafka.skip_offsets(0, 3)
    report = enricher(layout).enrich(land_all(kafka, layout))
    assert (report.rows, report.dead_letters) == (0, 0)
    assert report.chunks[0].path.exists()


def test_pseudonyms_are_keyed_and_stable() -> None:
    names = [pseudonym(KEY, "mary"), pseudonym(KEY, "mary "), pseudonym(b"another key, also long", "mary")]
    assert len(set(names)) == 3
    assert pseudonym(KEY, "mary") == names[0]
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in names)
    # RFC 4231, test case 2, cut to 128 bits
    assert pseudonym(b"Jefe", "what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c7"
    assert KEY.hex() not in key_fingerprint(KEY)


@settings(max_examples=25)
@given(users=st.lists(st.text(min_size=12), min_size=1, max_size=5), firm_too=st.booleans())
def test_no_raw_identifier_is_in_any_enriched_column(users: list[str], firm_too: bool) -> None:
    text = MINIMAL.format(
        format="iso8601", timezone="UTC", properties='who = { pointer = "/user", pseudonymise = true }'
    )
    firm = '[fields]\nclient_firm = { pointer = "/user", pseudonymise = true }' if firm_too else "[fields]"
    mapping = parse_mapping(text.replace("[fields]", firm), "mine.toml")
    values = [message(event_id=str(n), user=user) for n, user in enumerate(users)]
    with memory_folder() as folder:
        events, letters = outcome(Path(folder), *values, mapping=mapping)
    for letter in letters:  # an unpaired surrogate is no JSON text
        assert letter["reason"] in ("not_json", "not_utf8")
    for event in events:
        user = users[int(event["event_id"])]
        assert event["user_id"] == pseudonym(KEY, user)
        assert not any(user in str(value) for value in event.values())


def wikipedia_lines(shared_data: Path) -> list[bytes]:
    path = shared_data / "wikipedia_app_events" / "events.ndjson"
    if not path.is_file():
        pytest.skip(f"no recorded data: {path} is absent")
    return path.read_bytes().splitlines()


def enriched_wikipedia(folder: Path, lines: list[bytes | None]) -> tuple[Layout, EnrichedChunk]:
    layout, record = landed(folder, *lines)
    return layout, enricher(layout, load_mapping("wikipedia_app_events")).enrich([record]).chunks[0]


def test_all_recorded_wikipedia_events_are_read(shared_data: Path, memory_path: Path) -> None:
    lines = wikipedia_lines(shared_data)
    _, chunk = enriched_wikipedia(memory_path, list(lines))
    assert (chunk.rows, chunk.dead_letters) == (7_281, 0)
    documents = [json.loads(line) for line in lines]
    events = pq.read_table(chunk.path).to_pylist()
    assert [e["event_id"] for e in events] == [d["id"] for d in documents]
    times = [datetime.fromisoformat(d["timestamp"][:26].rstrip("Z")).replace(tzinfo=UTC) for d in documents]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert [e["event_time_us"] for e in events] == [(t - epoch) // timedelta(microseconds=1) for t in times]
    users = [d["attribute"]["installation_id"] or d["attribute"]["user_id"] for d in documents]
    assert [e["user_id"] for e in events] == [pseudonym(KEY, user) for user in users]
    known = set(users)
    columns = pq.read_table(chunk.path).to_pydict()
    assert not known & {str(value) for column in columns.values() for value in column}
    assert not any(user in text for user in known for text in set(columns["properties"]))


def test_a_hundred_broken_ones_among_them_are_all_found(shared_data: Path, memory_path: Path) -> None:
    lines: list[bytes | None] = list(wikipedia_lines(shared_data))
    expected = {}
    makers = list(_BROKEN_WIKIPEDIA.items())
    for number in range(100):
        offset = number * 73 + 11
        (reason, field, _), make = makers[number % len(makers)]
        lines.insert(offset, make(json.loads(lines[offset] or b"")))
        expected[offset] = (reason, field)
    layout, chunk = enriched_wikipedia(memory_path, lines)
    assert (chunk.rows, chunk.dead_letters) == (7_281, 100)
    letters = pq.read_table(layout.dead_letters(OPEN.key, chunk.record.name)).to_pylist()
    assert {letter["kafka_offset"]: (letter["reason"], letter["field"]) for letter in letters} == expected
    assert [letter["value"] for letter in letters] == [lines[offset] for offset in sorted(expected)]
    assert sum(chunk.reasons.values()) == 100


def _changed(**changes: Any) -> Any:
    return lambda document: json.dumps({**document, **changes}).encode()


_BROKEN_WIKIPEDIA: dict[tuple[str, str | None, int], Any] = {
    ("empty_message", None, 0): lambda document: None,
    ("not_utf8", None, 0): lambda document: json.dumps(document).encode() + b"\xff",
    ("not_json", None, 0): lambda document: json.dumps(document).encode()[:-1],
    ("not_json", None, 1): lambda document: b"",
    ("not_an_object", None, 0): lambda document: json.dumps([document]).encode(),
    ("missing_field", "event_id", 0): _changed(id=None),
    ("missing_field", "event_id", 1): _changed(id=""),
    ("missing_field", "user", 0): _changed(attribute={}),
    ("missing_field", "event_time", 0): _changed(timestamp=None),
    ("wrong_type", "event_id", 0): _changed(id=12),
    ("wrong_type", "user_session", 0): _changed(session_id=["x"]),
    ("wrong_type", "event_time", 0): _changed(timestamp="yesterday"),
    ("wrong_type", "event_time", 1): _changed(timestamp=1_742_741_402),
    ("absurd_time", "event_time", 0): _changed(timestamp="1970-01-01T00:00:00Z"),
    ("absurd_time", "event_time", 1): _changed(timestamp="2038-01-19T03:14:07Z"),
}
