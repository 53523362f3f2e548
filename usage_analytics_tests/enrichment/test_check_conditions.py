"""The checks of a mapping: which messages keep each of them, and which break it."""

import json
from typing import Any

import pyarrow as pa
import pytest
from fakes import KEY, RECEIVED, TOPIC

from usage_analytics.contract import parse_mapping
from usage_analytics.enrichment.judge import Judge
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.trading_calendar import trading_calendar

MAPPING = """
name = "checked"
version = 1
[fields]
event_id = { otherwise = "position" }
event_time = { otherwise = "received" }
user = "/user"
mini_app = "/mini_app"
"""
NOTHING = {"user": "ann", "mini_app": "quotes"}


def judged(check: str, messages: list[dict[str, Any]]) -> tuple[list[int], list[dict[str, Any]]]:
    """The places of those that keep a check, and the dead letters of the others."""
    judge = Judge(parse_mapping(f"{MAPPING}\n[[checks]]\n{check}", "checked.toml"), trading_calendar(), KEY, 1_000)
    received = int(RECEIVED.timestamp() * 1e6)
    rows = [
        {"kafka_offset": place, "kafka_timestamp_us": received, "value": json.dumps(NOTHING | message).encode()}
        for place, message in enumerate(messages)
    ]
    events, letters = judge.judge([pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)], TOPIC, 0)
    return events.column("kafka_offset").to_pylist(), letters.to_pylist()


@pytest.mark.parametrize(
    ("check", "keep", "break_"),
    [
        ('at = "/n"\nleast = 0', [{}, {"n": None}, {"n": 0}, {"n": 2.5}], [{"n": -1}, {"n": "abc"}, {"n": "7"}]),
        ('at = "/n"\nmost = 9.5', [{}, {"n": -3}, {"n": 9.5}], [{"n": 9.6}, {"n": True}, {"n": [1]}]),
        ('at = "/n"\ntype = "whole"', [{}, {"n": 3}, {"n": 2**63}], [{"n": 3.5}, {"n": "3"}, {"n": None}]),
        ('at = "/n"\ntype = ["string", "null"]', [{}, {"n": ""}, {"n": None}], [{"n": 1}, {"n": {}}]),
        ('at = "/n"\nrequired = true', [{"n": 1}, {"n": None}], [{}, {"m": 1}]),
        ('at = "/n"\nabsent = true', [{}, {"m": 1}], [{"n": 1}, {"n": None}]),
        ('at = "/n"\npattern = "[a-z]+"', [{}, {"n": "abc"}, {"n": 4}], [{"n": "abc1"}, {"n": ""}]),
        ('at = "/n"\nkeys = "[a-z]"', [{}, {"n": {}}, {"n": {"a": 1}}, {"n": 4}], [{"n": {"ab": 1}}]),
        ('at = "/n"\none_of = ["it\'s", "b"]', [{}, {"n": "b"}, {"n": "it's"}, {"n": None}], [{"n": "c"}, {"n": 1}]),
        ('at = "/n"\nlength = [1, 2]', [{}, {"n": "ä"}, {"n": [1, 2]}, {"n": 4}], [{"n": ""}, {"n": [1, 2, 3]}]),
        ('at = "/l/#/n"\nleast = 0', [{}, {"l": []}, {"l": [{"n": 1}, {}]}], [{"l": [{"n": 1}, {"n": -1}]}]),
        ('at = "/l/#/n"\nrequired = true', [{}, {"l": [{"n": 1}, {"n": 2}]}], [{"l": [{"n": 1}, {}]}]),
        ('at = "/o/*"\ntype = "whole"', [{}, {"o": {}}, {"o": {"a": 1}}], [{"o": {"a": 1, "b": "x"}}]),
        (
            'at = "/n"\nrequired = true\nwhen = { "/kind" = "order" }',
            [{}, {"kind": "chat"}, {"kind": "order", "n": 1}],
            [{"kind": "order"}],
        ),
        ('at = "/n"\nabsent = true\nwhen = { "/m" = true }', [{"n": 1}, {"m": 1}], [{"n": 1, "m": 0}]),
    ],
)
def test_what_keeps_a_check_and_what_breaks_it(
    check: str, keep: list[dict[str, Any]], break_: list[dict[str, Any]]
) -> None:
    kept, letters = judged(check, [*keep, *break_])
    assert kept == list(range(len(keep)))
    pointer = check.split('"')[1]
    assert {(letter["reason"], letter["field"]) for letter in letters} == {("broken_check", pointer)}
