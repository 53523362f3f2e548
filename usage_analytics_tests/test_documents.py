"""What the documents show is so: the mappings in docs/mapping.md read the messages below them as it is said there.

And the README explains every command that the help lists, which has those first that people need first.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from fakes import KEY, RECEIVED, TOPIC

from usage_analytics import cli, contract, contract_checks
from usage_analytics.contract import CANONICAL_FIELDS, parse_mapping
from usage_analytics.enrichment import judge as judge_module
from usage_analytics.enrichment.judge import Judge
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA
from usage_analytics.trading_calendar import trading_calendar

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Shown:
    """An example of a document: a mapping, messages, and what comes out of each."""

    mapping: str
    messages: list[str]
    outcomes: list[dict[str, Any]]


def _examples() -> list[Shown]:
    blocks = re.findall(r"^```(toml|json)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["toml", "json", "json"] * (len(blocks) // 3)
    texts = [text for _, text in blocks]
    groups = zip(texts[::3], texts[1::3], texts[2::3], strict=True)
    return [Shown(toml, sent.splitlines(), [json.loads(o) for o in out.splitlines()]) for toml, sent, out in groups]


EXAMPLES = _examples()


def _outcomes(example: Shown) -> list[dict[str, Any]]:
    rows = [
        {"kafka_offset": n, "kafka_timestamp_us": int(RECEIVED.timestamp() * 1e6), "value": value.encode()}
        for n, value in enumerate(example.messages)
    ]
    judge = Judge(parse_mapping(example.mapping, "example.toml"), trading_calendar(), KEY, 1_000)
    events, letters = judge.judge([pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)], TOPIC, 0)
    found: dict[int, dict[str, Any]] = {}
    for event in events.to_pylist():
        told = {name: value for name, value in event.items() if value is not None}
        properties = {"properties": json.loads(told["properties"])} if "properties" in told else {}
        found[told["kafka_offset"]] = told | properties | {"trading_day": told["trading_day"].isoformat()}
    for letter in letters.to_pylist():
        shown = {"dead_letter": letter["reason"], "field": letter["field"], "detail": letter["detail"]}
        found[letter["kafka_offset"]] = shown
    return [found[place] for place in range(len(rows))]


def _as_shown(found: Any, shown: Any) -> Any:
    """What was found, of what is shown: … stands for a pseudonym."""
    if shown == "…":
        return "…" if re.fullmatch("[0-9a-f]{32}", str(found)) else found
    if isinstance(shown, dict) and isinstance(found, dict):
        return {name: _as_shown(found.get(name), value) for name, value in shown.items()}
    return found


@pytest.mark.parametrize("by_sql_alone", [False, True], ids=["as it is", "by SQL alone"])
@pytest.mark.parametrize("example", EXAMPLES, ids=[re.findall(r'"(\w+)"', e.mapping)[0] for e in EXAMPLES])
def test_what_comes_out_of_each_message_is_what_is_shown(
    example: Shown, by_sql_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_sql_alone:
        monkeypatch.setattr(judge_module, "scanner", lambda mapping, calendar: None)
    found = _outcomes(example)
    assert [_as_shown(f, s) for f, s in zip(found, example.outcomes, strict=True)] == example.outcomes
    whole = [("dead_letter" in f, f.get("properties", {}).keys()) for f in found]
    assert whole == [("dead_letter" in s, s.get("properties", {}).keys()) for s in example.outcomes]


def test_the_mapping_in_the_readme_reads_what_it_says() -> None:
    [mapping] = re.findall(r"^ +```toml\n(.*?)^ +```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    sent = {"id": "a", "ts": 1795445940000, "device": {"id": "d"}, "window": {"name": "quotes"}, "timing": {"ms": 7}}
    context = {"instrument": "IBM", "account": "99"}
    [event] = _outcomes(Shown(mapping, [json.dumps(sent | {"context": context})], []))
    assert (event["event_id"], event["mini_app"], event["latency_ms"]) == ("a", "quotes", 7)
    assert _as_shown(event["properties"], {"instrument": "", "account": "…"}) == {"instrument": "IBM", "account": "…"}


def test_every_key_of_a_mapping_is_explained() -> None:
    rows = {word for row in re.findall(r"^\| (.*?) \|", DOCUMENT, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)}
    field = {"pointer", "kind", "required", "pseudonymise", "default", "otherwise"}
    time = {"format", "timezone", "earliest", "future_tolerance_s"}
    assert {"name", "version"} | field | time | set(contract_checks.ASKED) <= rows
    for name in (*contract.KINDS, *contract.TIME_FORMATS, *contract_checks.TYPES, *contract.OTHERWISE.values()):
        assert f"`{name}`" in DOCUMENT or f'`"{name}"`' in DOCUMENT, name


def test_every_field_of_a_usage_event_is_explained() -> None:
    for each in CANONICAL_FIELDS:
        assert f"| `{each.name}` | `{each.kind}` | {'yes' if each.required else 'no'} | {each.meaning}" in DOCUMENT


def test_the_help_begins_with_what_people_need_first_and_the_readme_explains_all_of_it() -> None:
    commands = list(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert commands[:5] == ["demo", "ui", "status", "produce", "next"]
    table = [row for row in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if row.startswith("| `")]
    for name in commands:
        assert any(f"`{name}" in row for row in table), name
