"""The HTTP endpoint, asked what to fetch ahead: the answers of the look-up, refusals in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the [serving] extra is not installed")
pytest.importorskip("httpx", reason="the [dev] extra is not installed")

from serving.test_http import TestClient, client_of, conforms

from usage_analytics.serving.http import application
from usage_analytics.serving.live_plan import LivePlan
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics_tests.serving.made_up_plans import MARY, MadeUp, MadeUpPrewarm

AT_NINE = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)  # in New York
PLAN = MadeUp(
    saved_ms={"charts": 500.0, "news": 400.0},
    prices=[1.0] * 4 + [2.0] + [1.0] * 31,
    classes=[{}],
    users={MARY: 1},
    prewarms=[MadeUpPrewarm(3, 5, 1.5, [{"charts": 0.25}, {"charts": 0.5, "news": 0.25}])],
)


@pytest.fixture
def folder(memory_path: Path) -> PlanFolder:
    folder = PlanFolder(memory_path / "plans")
    folder.publish(PLAN.tables())
    return folder


@pytest.fixture
def client(folder: PlanFolder) -> Iterator[TestClient]:
    with client_of(folder) as client:
        yield client


def asked_ahead(client: TestClient, **query: Any) -> Any:
    response = client.get("/prewarm", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_what_to_fetch_ahead_is_that_of_the_look_up(client: TestClient, folder: PlanFolder) -> None:
    quarter_to_nine = AT_NINE - timedelta(minutes=15)
    told = asked_ahead(client, user=MARY, at="08:45")
    assert told == json.loads(json.dumps(asdict(folder.current().prewarm(MARY, quarter_to_nine))))
    assert told == {
        "plan": folder.current_name(), "times": ["09:00-09:15"], "known_user": True, "price": 1.5,
        "nothing_because": None,
        "items": [
            {"mini_app": "charts", "chance": 0.5, "saved_ms": 500.0, "cost_ms": 1.0, "value_ms": 248.5,
             "payload_bytes": 1000.0},
            {"mini_app": "news", "chance": 0.25, "saved_ms": 400.0, "cost_ms": 1.0, "value_ms": 98.5,
             "payload_bytes": 1000.0},
        ],
    }  # fmt: skip
    assert [item["mini_app"] for item in asked_ahead(client, user=MARY, at="8:45", calls=1)["items"]] == ["charts"]
    anybody = asked_ahead(client, at="08:45")
    assert (anybody["known_user"], [item["chance"] for item in anybody["items"]]) == (False, [0.25])
    assert asked_ahead(client, user="", at="08:45") == anybody


def test_now_is_the_time_to_fetch_or_it_is_said_when(client: TestClient, folder: PlanFolder) -> None:
    told = asked_ahead(client, user=MARY)
    assert (told["items"], told["price"], told["times"]) == ([], None, [])
    assert told["nothing_because"] == "it is fetched ahead at 08:45-09:00 only (America/New_York)"
    with TestClient(application(LivePlan(folder), None, lambda: AT_NINE - timedelta(minutes=1))) as earlier:
        assert len(asked_ahead(earlier, user=MARY)["items"]) == 2


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"at": "noon"}, "at is a time of day in America/New_York, such as 09:15, found 'noon'"),
        ({"at": "25:00"}, "at is a time of day in America/New_York, such as 09:15, found '25:00'"),
        ({"at": "09:15+01:00"}, "at is a time of day in America/New_York, such as 09:15, found '09:15+01:00'"),
        ({"context": "quotes"}, "'context' is no parameter of /prewarm; they are at, bytes, calls, user"),
        ({"calls": "-1"}, "calls is a whole number from 0 on, found '-1'"),
    ],
)
def test_what_cannot_be_asked_ahead_is_refused_in_words(query: dict[str, Any], error: str, client: TestClient) -> None:
    response = client.get("/prewarm", params=query)
    assert (response.status_code, response.json()) == (400, {"error": error})
    assert client.get("/prewarm", params={"user": "joe"}).json()["error"].startswith("user must be a pseudonym")


def test_a_parameter_that_is_given_twice_is_refused(client: TestClient) -> None:
    response = client.get("/prewarm", params={"at": ["09:15", "10:15"]})
    assert (response.status_code, response.json()) == (400, {"error": "at is given 2 times: give it once"})


def test_the_openapi_document_describes_what_comes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for at in ("08:45", "12:00"):
        conforms(asked_ahead(client, user=MARY, at=at), schemas["PrewarmAnswer"], schemas)
    assert {each["name"] for each in document["paths"]["/prewarm"]["get"]["parameters"]} == {
        "user", "at", "calls", "bytes",
    }  # fmt: skip
