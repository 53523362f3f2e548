"""Mistakes in a mapping's checks are told in a sentence that names the place; a broken check makes a dead letter."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import KEY, OPEN, TOPIC, FakeKafka, land_all

from usage_analytics.contract import parse_mapping
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.errors import UserError
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import trading_calendar

MINE = """
name = "mine"
version = 1
[fields]
event_id = { otherwise = "position" }
event_time = { pointer = "/at", otherwise = "received" }
user = "/user"
mini_app = "/app"
[[checks]]
"""


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ('at = "count"', "'count' is not a JSON pointer such as"),
        ('at = "/count~2"', "'/count~2' has a ~ that is followed by neither 0 nor 1; write ~0 for ~ itself"),
        ('at = "/name"\nwhen = { "/a~" = true }', "'/a~' has a ~ that is followed by neither 0 nor 1"),
        ('at = "/count"\nleest = 1', "'leest' is not known here"),
        ('at = "/count"\nleast = "1"', "least cannot be '1'"),
        ('at = "/count"\nleast = nan', "least is a finite number, found nan"),
        ('at = "/count"\nmost = inf', "most is a finite number, found inf"),
        ('at = "/count"\nmost = -inf', "most is a finite number, found -inf"),
        (f'at = "/count"\nleast = {"9" * 400}', "least is a finite number, found 9999"),
        ("least = 1", "None is not a JSON pointer such as"),
        ('at = "/count"\nleast = true', "least cannot be True"),
        ('at = "/count"\ntype = "int"', "type is one or several of string, whole"),
        ('at = "/name"\npattern = "("', "pattern '(' is no regular expression"),
        ('at = "/name"\nlength = [1]', "length is the least and the most"),
        ('at = "/name"\nwhen = { "/a/*" = true }', "when asks for one value"),
        ('at = "/name"\none_of = [1]', "one_of is compared with a text"),
    ],
)
def test_a_mistake_in_a_check_is_told(check: str, sentence: str) -> None:
    with pytest.raises(UserError) as told:
        parse_mapping(MINE + check, "mine.toml")
    assert str(told.value).startswith("mapping mine.toml [[checks]] 1: ") and sentence in str(told.value)


def test_only_what_kafka_knows_stands_in_for_a_field() -> None:
    with pytest.raises(UserError, match="otherwise is 'position' of event_id, 'received' of event_time, found 'now'"):
        parse_mapping(MINE.replace('"received"', '"now"').replace("[[checks]]", ""), "mine.toml")


def test_what_breaks_a_check_is_a_dead_letter_that_says_what_was_found(memory_path: Path) -> None:
    mapping = parse_mapping(MINE + 'at = "/counts/#/n"\nrequired = true\nleast = 0', "mine.toml")
    plain = {"user": "mary", "app": "quotes", "at": None}
    counts: list[list[dict[str, int]]] = [[], [{"n": 0}], [{"n": 3}, {"n": -2}], [{"m": 1}]]
    kafka, layout = FakeKafka.of(1), Layout(memory_path, TOPIC)
    kafka.produce(0, *(json.dumps({**plain, "counts": each}).encode() for each in counts), json.dumps(plain).encode())
    [record] = land_all(kafka, layout)
    [chunk] = Enricher(layout, mapping, trading_calendar(), KEY, 1_000).enrich([record]).chunks
    events = pq.read_table(chunk.path).to_pylist()
    assert [event["event_id"] for event in events] == [f"{TOPIC}+0+{offset}" for offset in (0, 1, 4)]
    assert [event["event_time_us"] for event in events] == [event["kafka_timestamp_us"] for event in events]
    letters = pq.read_table(layout.dead_letters(OPEN.key, record.name)).to_pylist()
    assert [(letter["reason"], letter["field"]) for letter in letters] == [("broken_check", "/counts/#/n")] * 2
    asked = "what the mapping asks of /counts/#/n does not hold"
    assert [letter["detail"] for letter in letters] == [
        f"{asked}: found number -2 there", f"{asked}: found nothing there",
    ]  # fmt: skip
