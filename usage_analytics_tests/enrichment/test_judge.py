"""What is judged JSON and an instant: exactly what the standards say, whatever DuckDB's parsers forgive besides."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fakes import KEY, RECEIVED, TOPIC, message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.judge import Judge
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.trading_calendar import trading_calendar

RECEIVED_US = int(RECEIVED.timestamp() * 1e6)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(load_mapping("usage_event"), trading_calendar(), KEY, 1_000)


def judged(judge: Judge, values: list[bytes]) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Usage events and dead letters of messages, by their place."""
    rows = [{"kafka_offset": n, "kafka_timestamp_us": RECEIVED_US, "value": value} for n, value in enumerate(values)]
    events, letters = judge.judge([pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)], TOPIC, 0)
    by_place = [{row["kafka_offset"]: row for row in table.to_pylist()} for table in (events, letters)]
    assert sorted([*by_place[0], *by_place[1]]) == list(range(len(values)))
    return by_place[0], by_place[1]


def instants(judge: Judge, times: list[str]) -> list[int | None]:
    """Microseconds since the epoch of event times, None where one is of the wrong type."""
    events, letters = judged(judge, [message(event_time=time) for time in times])
    assert all((letter["reason"], letter["field"]) == ("wrong_type", "event_time") for letter in letters.values())
    return [events[n]["event_time_us"] if n in events else None for n in range(len(times))]


ISO_TIMES = {
    "2026-11-23T14:59:00Z": "2026-11-23T14:59:00+00:00",
    "2026-11-23 14:59:00Z": "2026-11-23T14:59:00+00:00",
    "2026-11-23T14:59Z": "2026-11-23T14:59:00+00:00",
    "2026-11-23T14:59": "2026-11-23T14:59:00+00:00",
    "2026-11-23T14:59:00.5": "2026-11-23T14:59:00.500000+00:00",
    "2026-11-23T14:59:00.123456789Z": "2026-11-23T14:59:00.123456+00:00",
    "2026-11-22T24:00:00Z": "2026-11-23T00:00:00+00:00",
    "2026-11-23T09:59:00-05": "2026-11-23T14:59:00+00:00",
    "2026-11-23T20:29:00+0530": "2026-11-23T14:59:00+00:00",
    "2026-11-23T20:29:00+05:30": "2026-11-23T14:59:00+00:00",
    "2026-11-23T14:59:00-00:00": "2026-11-23T14:59:00+00:00",
    "2026-11-24T08:59:00+18:00": "2026-11-23T14:59:00+00:00",
    "2026-11-24T08:59:00+18": "2026-11-23T14:59:00+00:00",
    "2026-11-22T20:59:00-18:00": "2026-11-23T14:59:00+00:00",
}


def test_times_as_iso_8601_writes_them(judge: Judge) -> None:
    expected = [int(datetime.fromisoformat(time).timestamp() * 1e6) for time in ISO_TIMES.values()]
    found = instants(judge, list(ISO_TIMES))
    assert dict(zip(ISO_TIMES, found, strict=True)) == dict(zip(ISO_TIMES, expected, strict=True))


OTHER_TIMES = [
    # offsets that no clock has
    "+99:00", "-99:00", "+18:01", "-18:30", "+1801", "+19", "+24:00", "+05:60", "+05:99", "+0560", "+05:30:15",
    "+5", "+5:30", "+530", "+", "+:", "+05:", " +05:30", "\u221205:00",
    # eras, names of time zones, halves of a day
    " BC", " (BC)", "BC", " AD", " UTC", "UTC", " GMT", " GMT+2", " EST", " America/New_York", " Europe/Berlin",
    "Europe/Berlin", "[Europe/Berlin]", "+01:00[Europe/Berlin]", "+01:00 Europe/Berlin", " PM",
    # letters and spaces
    "z", "ZZ", " Z", "Z ", "Z\n", "\n", " ", "\t", "\u00a0", "Z+00:00", "Zulu", ".", ".Z", ",5Z", ".5.5Z", ":00",
]  # fmt: skip
OTHER_SHAPES = [
    "2026-11-23", "2026-11-23Z", "2026-11-23T", "2026-11-23T15", "2026-11-23T15Z", "2026-11-23T15.5Z",
    "2026-11-23T15:00.5Z", "2026-11-23T5:00:00Z", "2026-11-23T15:0:00Z", "2026-11-23T15:00:0Z", "2026-11-23T1500Z",
    "2026-11-23T150000Z", "20261123T150000Z", "20261123", "2026-327T15:00:00Z", "2026-W48-1T15:00:00Z",
    "2026/11/23T15:00:00Z", "2026.11.23T15:00:00Z", "23-11-2026T15:00:00Z", "11/23/2026 15:00:00",
    "26-11-23T15:00:00Z", "2026-1-23T15:00:00Z", "2026-11-3T15:00:00Z", "+2026-11-23T15:00:00Z",
    "-2026-11-23T15:00:00Z", "12026-11-23T15:00:00Z", " 2026-11-23T15:00:00Z", "\n2026-11-23T15:00:00Z",
    "2026-11-23t15:00:00Z", "2026-11-23_15:00:00Z", "2026-11-23-15:00:00Z", "2026-11-23TT15:00:00Z",
    "2026-11-23  15:00:00Z", "2026-11-23T 15:00:00Z", "2026-11-23\t15:00:00Z", "2026-11-23\n15:00:00Z",
    "2026\u201311\u201323T15:00:00Z", "\uff12\uff10\uff12\uff16-11-23T15:00:00Z", "2026-11-23T15:00:00:00Z",
    "2026-11-23T15-00-00Z", "2026-11-23T15.00.00Z", "2026-11-23T25:00:00Z", "2026-11-23T24:00:01Z",
    "2026-11-23T15:60:00Z", "2026-11-23T15:00:61Z", "2026-11-00T15:00:00Z", "2026-13-23T15:00:00Z",
    "2026-02-29T15:00:00Z", "2026-11-31T15:00:00Z", "P1D", "PT15H", "2026-11-23T15:00:00Z/PT1H", "today", "now",
    "yesterday", "epoch", "infinity", "-infinity", "allballs", "1795445940", "1795445940000",
    "Mon Nov 23 2026 15:00:00", "Mon, 23 Nov 2026 15:00:00 GMT", "23 Nov 2026 15:00:00", "Nov 23, 2026", "{}",
]  # fmt: skip


def test_other_times_are_of_the_wrong_type(judge: Judge) -> None:
    times = [f"2026-11-23T15:00:00{ending}" for ending in OTHER_TIMES] + OTHER_SHAPES
    found = zip(times, instants(judge, times), strict=True)
    taken = {time: instant for time, instant in found if instant is not None}
    assert taken == {}


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(2011, 1, 1), datetime(2026, 11, 20)), st.integers(-18 * 60, 18 * 60),
            st.sampled_from(["seconds", "milliseconds", "microseconds"]), st.sampled_from("T "),
        ),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_every_instant_is_read_as_python_reads_it(judge: Judge, drawn: list[tuple[datetime, int, str, str]]) -> None:
    times = [
        at.replace(tzinfo=timezone(timedelta(minutes=offset))).isoformat(sep=separator, timespec=precision)
        for at, offset, precision, separator in drawn
    ]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = [(datetime.fromisoformat(time) - epoch) // timedelta(microseconds=1) for time in times]
    assert instants(judge, times) == expected


def is_json(text: bytes) -> bool:
    """The verdict of Python's parser, told to forgive nothing."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(text.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def unreadable(judge: Judge, values: list[bytes]) -> list[bool]:
    letters = judged(judge, values)[1]
    return [n in letters and letters[n]["reason"] in ("not_json", "not_utf8") for n in range(len(values))]


def test_every_file_of_the_json_test_suite_is_judged(judge: Judge, shared_data: Path) -> None:
    files = sorted((shared_data / "jsontestsuite" / "test_parsing").glob("*.json"))
    assert len(files) > 300
    values = [path.read_bytes() for path in files]
    for path, refused in zip(files, unreadable(judge, values), strict=True):
        if path.name[:2] in ("y_", "n_"):
            assert refused == path.name.startswith("n_"), path.name
    wrapped = [b'{"event_id":' + value + b"}" for value in values]
    for path, value, refused in zip(files, wrapped, unreadable(judge, wrapped), strict=True):
        if path.name[:2] in ("y_", "n_"):
            assert refused != is_json(value), path.name


FORGIVEN = [
    b'{"a":1,}', b'{"a":1 , \n }', b'{"a":[1,]}', b'{"a":[1,\t]}', b'{"a":{"b":"",},"c":1}', b'{"a":"",}', b"[[1],]",
    b'{"a":NaN}', b'{"a":nan}', b'{"a":-NaN }', b'{"a":[NAN,1]}', b'{"a":Infinity}', b'{"a":-infinity}', b'{"a":inf}',
    b'{"a":-Inf\n}', b'{"a":[1,INF]}', b'{"a":"\\\\",}', b'{"a":"\\"","b":NaN}', b"NaN", b"-Infinity", b" nan ",
]  # fmt: skip
TEXTS_THAT_LOOK_ALIKE = [
    ",}", ",]", ", }", "NaN", "nan}", "nan]", "a,nan,", "Infinity", "inf}", "-inf,", ':NaN,"', '",}', '\\",}', "\\",
    '\\"', "\\\\", "{}", '{"a":NaN,}', "\n,]",
]  # fmt: skip


def test_what_duckdb_forgives_is_refused(judge: Judge) -> None:
    assert unreadable(judge, FORGIVEN) == [True] * len(FORGIVEN)


def test_texts_that_look_alike_are_texts(judge: Judge) -> None:
    values = [message(screen=text, properties={text: [text], "b": text}) for text in TEXTS_THAT_LOOK_ALIKE]
    events, _ = judged(judge, values)
    assert [events[n]["screen"] for n in range(len(values))] == TEXTS_THAT_LOOK_ALIKE
    assert json.loads(events[0]["properties"]) == {",}": [",}"], "b": ",}"}


TEXT = st.text(alphabet='"\\,]}[{ :nNaAiIfFtTyY\t1-é', max_size=12)
DOCUMENT = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.sampled_from([0.5, 1e300, -2.5e-9]), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)
SLIPS = [
    ",", " , ", ",]", ",}", "NaN", "nan", "-Infinity", "inf", "INF", '"', "\\", "[", "]", "{", "}", ":", "\n", " ", "-",
    "+", "0", "1", ".", "e", "null", "'", "/*x*/", "\x00",
]  # fmt: skip


@st.composite
def nearly_json(draw: st.DrawFn) -> bytes:
    """A JSON text with a slip of the pen or two in it, or none."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]))
    text = json.dumps(draw(DOCUMENT), ensure_ascii=False, separators=separators)
    for slip in draw(st.lists(st.sampled_from(SLIPS), max_size=2)):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + slip + text[place + draw(st.integers(0, 1)) :]
    return text.encode()


@settings(max_examples=200)
@given(st.lists(nearly_json(), min_size=1, max_size=30))
@example([b'{"a":",]","b":[1,]}', b'{"a":"nan","b":nan}', b'{"a":"\\\\",}', b'["\\",]", 1]'])
def test_json_is_what_a_strict_parser_takes(judge: Judge, values: list[bytes]) -> None:
    assert [not refused for refused in unreadable(judge, values)] == [is_json(value) for value in values]
