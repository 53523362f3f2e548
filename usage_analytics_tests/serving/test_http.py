"""The HTTP endpoint: the same answers as the look-up, refusals in words, and it lives through swaps."""

from __future__ import annotations

import json
import re
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes import KEY

pytest.importorskip("starlette", reason="the [serving] extra is not installed")
pytest.importorskip("httpx", reason="the [dev] extra is not installed")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it prefers a successor of httpx that nothing else here needs
    from starlette.testclient import TestClient

from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.serving import http
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.http import answer_json, application
from usage_analytics.serving.live_plan import LivePlan
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics_tests.serving.made_up_plans import IBM, MARY, MadeUp

AT_NINE = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)  # in New York
JIM = "7d" * 16  # an identifier that looks like a pseudonym
PLAN = MadeUp(
    entries={(): {"news": 0.5, "charts": 0.25}, ("quotes",): {"charts": 0.5}, ("charts", "quotes"): {"chat": 0.75}},
    saved_ms={"charts": 500.0, "news": 400.0, "chat": 300.0},
    prices=[1.0] * 4 + [2.0] + [1.0] * 31,
    classes=[{"charts": 2.0}, {"news": 0.0}, {"charts": 0.0}],
    users={MARY: 1, pseudonym(KEY, "joe"): 2, pseudonym(KEY, JIM): 3},
    entities={IBM: {"news": (1.0, 0.5)}},
)


@pytest.fixture
def folder(memory_path: Path) -> PlanFolder:
    folder = PlanFolder(memory_path / "plans")
    folder.publish(PLAN.tables())
    return folder


def client_of(folder: PlanFolder, key: bytes | None = None) -> TestClient:
    return TestClient(application(LivePlan(folder), key, lambda: AT_NINE))


@pytest.fixture
def client(folder: PlanFolder) -> Iterator[TestClient]:
    with client_of(folder) as client:
        yield client


def asked(client: TestClient, **query: Any) -> Any:
    response = client.get("/next", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_an_answer_is_that_of_the_look_up(client: TestClient, folder: PlanFolder) -> None:
    expected = folder.current().next(MARY, ("charts", "quotes"), at=AT_NINE, entity=IBM)
    assert expected.items and expected.price == 2.0
    told = asked(client, user=MARY, context=["charts", "quotes"], entity=IBM)
    assert told == json.loads(json.dumps(answer_json(expected)))
    assert told["items"] == [
        {
            "mini_app": "news", "probability": 0.5, "context": ["charts", "quotes"], "transitions": 1,
            "revisit_factor": 1.0, "user_factor": 1.0, "phase_factor": 1.0, "entity_factor": 1.0, "led": 0.5,
            "saved_ms": 400.0, "cost_ms": 1.0, "value_ms": 198.0, "payload_bytes": 1000.0,
        },
        {
            "mini_app": "chat", "probability": 0.375, "context": ["charts", "quotes"], "transitions": 1,
            "revisit_factor": 1.0, "user_factor": 1.0, "phase_factor": 1.0, "entity_factor": 1.0, "led": 0.0,
            "saved_ms": 300.0, "cost_ms": 1.0, "value_ms": 110.5, "payload_bytes": 1000.0,
        },
    ]  # fmt: skip


@pytest.mark.parametrize("context", ["charts > quotes", "charts>quotes", ["charts", "quotes"]])
def test_a_context_is_given_in_one_or_one_by_one(context: str | list[str], client: TestClient) -> None:
    assert asked(client, context=context)["context"] == ["charts", "quotes"]


@pytest.mark.parametrize("context", ["(start) > quotes", ["(start)", "quotes"]])
def test_the_start_of_a_user_session_can_be_asked_for(context: str | list[str], folder: PlanFolder) -> None:
    folder.publish(replace(PLAN, entries={**PLAN.entries, (None,): {"chat": 1.0}, (None, "quotes"): {}}).tables())
    with client_of(folder) as client:
        assert asked(client, context=context)["context"] == [None, "quotes"]
        told = asked(client, context="(start)")
        assert (told["context"], [item["mini_app"] for item in told["items"]]) == ([None], ["chat"])
        middle = asked(client, context=["quotes", "(start)"])
        assert (middle["unknown_mini_apps"], middle["context"]) == (["(start)"], [])


def test_the_budget_is_the_plans_or_the_askers(client: TestClient, folder: PlanFolder) -> None:
    assert [item["mini_app"] for item in asked(client)["items"]] == ["news", "charts"]
    assert [item["mini_app"] for item in asked(client, calls=1)["items"]] == ["news"]
    assert asked(client, bytes=999)["items"] == []
    assert asked(client, calls=0)["items"] == []
    only_one = replace(PLAN, facts=replace(PLAN.facts, budget=Budget(1, 1e6)))
    folder.publish(only_one.tables())
    with client_of(folder) as other:
        assert [item["mini_app"] for item in asked(other)["items"]] == ["news"]


def test_what_is_not_known_is_marked(client: TestClient) -> None:
    told = asked(client, user="00" * 16, context=["bonds", "quotes"])
    assert (told["known_user"], told["unknown_mini_apps"], told["context"]) == (False, ["bonds"], ["quotes"])
    assert not told["whole_context"]
    assert asked(client, user=MARY)["known_user"]
    assert asked(client, entity=IBM)["known_entity"]
    assert asked(client, entity="bond") == asked(client)
    assert asked(client, user="", context="", entity="") == asked(client)


def test_with_the_key_users_are_identifiers_and_without_it_pseudonyms(client: TestClient, folder: PlanFolder) -> None:
    with client_of(folder, KEY) as knowing:
        assert [item["mini_app"] for item in asked(knowing, user="joe")["items"]] == ["charts"]
        assert asked(knowing, user=MARY)["known_user"]
        assert not asked(knowing, user="mary")["known_user"]
        assert [item["mini_app"] for item in asked(knowing, user=JIM)["items"]] == ["news"]
    refused = client.get("/next", params={"user": "joe"})
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("user must be a pseudonym, 32 hexadecimal digits: to make one of an")
    assert "USAGE_ANALYTICS_PSEUDONYM_KEY" in refused.json()["error"]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"calls": "many"}, "calls is a whole number from 0 on, found 'many'"),
        ({"calls": "-1"}, "calls is a whole number from 0 on, found '-1'"),
        ({"calls": "1.5"}, "calls is a whole number from 0 on, found '1.5'"),
        ({"bytes": "nan"}, "bytes is a number from 0 on, found 'nan'"),
        ({"bytes": "inf"}, "bytes is a number from 0 on, found 'inf'"),
        ({"bytes": ""}, "bytes is a number from 0 on, found ''"),
        ({"contxt": "quotes"}, "'contxt' is no parameter of /next; they are at, bytes, calls, context, entity, user"),
        ({"calls": ["1", "3"]}, "calls is given 2 times: give it once"),
        ({"user": [MARY, "", MARY], "context": ["charts", "quotes"]}, "user is given 3 times: give it once"),
        ({"context": "quotes >"}, "context 'quotes >' names no mini-app before or after a '>'"),
        ({"context": ["", "> quotes", ""]}, "context '> quotes' names no mini-app before or after a '>'"),
        ({"context": " "}, "context ' ' names no mini-app before or after a '>'"),
        ({"context": ["quotes"] * 1001}, "context has at most 1000 mini-apps, found 1001"),
    ],
)
def test_what_cannot_be_is_refused_in_words(query: dict[str, Any], error: str, client: TestClient) -> None:
    response = client.get("/next", params=query)
    assert (response.status_code, response.json()) == (400, {"error": error})


def test_an_unknown_path_or_method_is_told_as_all_errors_are(client: TestClient) -> None:
    unknown = client.get("/nxt?context=quotes")
    assert (unknown.status_code, unknown.json()) == (
        404, {"error": "there is no '/nxt' here: ask for /, /health, /next, /openapi.json, /plan, /prewarm"},
    )  # fmt: skip
    posted = client.post("/next")
    assert (posted.status_code, posted.json()) == (405, {"error": "/next answers GET, not POST"})
    assert "GET" in posted.headers["allow"]


def test_the_facts_of_the_plan(client: TestClient, folder: PlanFolder) -> None:
    told = client.get("/plan").json()
    assert told["plan"] == folder.current_name()
    assert (told["trading_day"], told["probabilities_of"], told["transitions"]) == (
        "2026-11-23",
        "gru, by the contest of 2026-11-20",
        12_345,
    )
    assert (told["contexts"], told["users"], told["budget"]) == (3, 3, {"calls": 3, "bytes": 1e6})
    assert (told["user_classes"], told["entities"]) == (3, 1)
    assert told["mini_apps"] == list(PLAN.mini_apps)


def test_before_the_first_plan_it_says_so_and_then_answers(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LOOK_EVERY_S", 0.01)
    folder = PlanFolder(memory_path / "plans")
    with client_of(folder) as client:
        for path in ("/next", "/prewarm", "/plan"):
            response = client.get(path)
            assert response.status_code == 503
            assert "materialize preload_plan first" in response.json()["error"]
        health = client.get("/health")
        assert health.status_code == 503
        assert "materialize preload_plan first" in health.json()["trouble"]
        folder.publish(PLAN.tables())
        until(lambda: client.get("/health").status_code == 200)
        assert asked(client)["items"]


def test_a_swap_is_followed_without_an_answer_missing_and_a_damaged_plan_is_not(
    folder: PlanFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LOOK_EVERY_S", 0.01)
    first = folder.current_name()
    damaged = folder.path / "2026-11-23-000000000000.plan"
    damaged.write_bytes((folder.path / f"{first}.plan").read_bytes()[:-1])
    with client_of(folder) as client:
        names, stop = set(), threading.Event()

        def ask() -> None:
            while not stop.is_set():
                names.add(asked(client)["plan"])

        asker = threading.Thread(target=ask)
        asker.start()
        until(lambda: first in names)
        second = folder.publish(replace(PLAN, saved_ms={"news": 900.0}).tables()).name
        until(lambda: second in names)
        pointer = folder.path / "next"
        pointer.write_text(damaged.stem)
        pointer.replace(folder.path / "CURRENT")
        until(lambda: (client.get("/health").json()["trouble"] or "").startswith(f"{damaged} is cut short"))
        assert client.get("/health").json()["plan"] == second
        folder.use(second)
        until(lambda: client.get("/health").json()["trouble"] is None)
        stop.set()
        asker.join()
        assert names == {first, second}


def until(holds: Any) -> None:
    for _ in range(1_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that within ten seconds")


def test_the_openapi_document_describes_what_comes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    told = asked(client, context="quotes")
    conforms(told, schemas["Answer"], schemas)
    for path in ("/health", "/plan"):
        shape = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        conforms(client.get(path).json(), shape, schemas)
    assert {each["name"] for each in document["paths"]["/next"]["get"]["parameters"]} == {
        "user", "context", "entity", "at", "calls", "bytes",
    }  # fmt: skip
    for path in document["paths"]:
        assert client.get(path).status_code == 200


def conforms(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Checks what the document uses of JSON Schema."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    types: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": type(None),
                             "array": list, "object": dict}  # fmt: skip
    assert any(type(value) is types[kind] for kind in kinds), (value, schema)
    if isinstance(value, list):
        for each in value:
            conforms(each, schema["items"], schemas)
    if isinstance(value, dict):
        assert set(value) == set(schema["properties"]) == set(schema["required"])
        for name, each in value.items():
            conforms(each, schema["properties"][name], schemas)


def test_the_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/").text
    assert not re.search(r"https?://|<script|<link", page)
    for words in ("GET /next", "GET /prewarm", "GET /plan", "GET /health", "revisit_factor", "/openapi.json"):
        assert words in page
    assert "&#x27;" in page  # what it shows is escaped
