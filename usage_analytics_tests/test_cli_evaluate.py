"""`usage-analytics evaluate`: users held out by the marts' folds, or by a number among their properties."""

import json
from datetime import date
from pathlib import Path

import pytest
from closing import refresh
from fakes import TOPIC, enriched_chunk
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.errors import UserError
from usage_analytics.settings import load_settings
from usage_analytics_tests.integration.platform_under_test import clean_environment

WINDOW, DAY = "2026-11-23T1000", date(2026, 11, 23)
ODD_NAMES = ('a "quoted" name', "it's", "dotted.name", "$.sequence", "a/b~c", "*", "")


@pytest.fixture
def home(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the events of 20 users, four of them in each of the marts' folds, and no marts."""
    clean_environment(monkeypatch, memory_path)
    events = []
    for user in range(20):
        numbered = dict.fromkeys(("sequence", *ODD_NAMES), user + 5)
        properties = json.dumps({**numbered, "name": "text", "mixed": user if user % 2 else "text", "same": 7})
        for mini_app in ("news", "quotes", "charts"):
            events.append({"user_id": f"{user:02x}" + "0" * 30, "mini_app": mini_app, "properties": properties})
    chunk = enriched_chunk(memory_path, WINDOW, 0, 0, events)
    parts.warehouse(load_settings()).load_window(TOPIC, WINDOW, [chunk])
    return memory_path


def evaluate(*options: str) -> str:
    done = CliRunner().invoke(cli.app, ["evaluate", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return " ".join(done.stdout.split())


def test_users_are_held_out_by_the_folds_of_the_marts(home: Path) -> None:
    why = r"no trading day has marts in .*warehouse\.duckdb yet: .* materialize its marts"
    with pytest.raises(UserError, match=f"nothing to judge the model by: {why}"):
        evaluate()
    refresh(parts.warehouse(load_settings()), DAY, "app_transitions")
    shown = evaluate()
    assert "8 held-out transitions: those of users in the last of the marts' 5 folds" in shown
    assert "counts alone │ 1.000 │ 1.000" in shown


def test_too_few_users_are_told_apart_from_no_marts(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, memory_path)
    events = [{"user_id": "0" * 32, "mini_app": mini_app} for mini_app in ("news", "quotes", "charts")]
    warehouse = parts.warehouse(load_settings())
    warehouse.load_window(TOPIC, WINDOW, [enriched_chunk(memory_path, WINDOW, 0, 0, events)])
    refresh(warehouse, DAY, "app_transitions")
    why = r"the marts in .*warehouse\.duckdb hold too few users; load more events and materialize app_transitions"
    with pytest.raises(UserError, match=f"nothing to judge the model by: {why}"):
        evaluate()


@pytest.mark.parametrize("name", ["sequence", *ODD_NAMES])
def test_a_property_is_found_whatever_its_name(home: Path, name: str) -> None:
    assert f"8 held-out transitions: those of events whose {name!r} is 4 modulo 5" in evaluate("--split-property", name)


@pytest.mark.parametrize("name", ["name", "same", "nowhere", "sequence.x", "' OR 1=1 --"])
def test_a_property_that_cannot_split_is_named(home: Path, name: str) -> None:
    with pytest.raises(UserError) as raised:
        evaluate("--split-property", name)
    why = f"too few events carry a whole number under the property {name!r}, or none is 4 modulo 5"
    assert str(raised.value) == f"nothing to judge the model by: {why}"


def test_events_without_the_number_are_left_out(home: Path) -> None:
    assert "4 held-out transitions" in evaluate("--split-property", "mixed")
