"""Funnels in a TOML file: what is wrong is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from usage_analytics.errors import UserError
from usage_analytics.warehouse.funnel_definitions import Funnel, Step, load_funnels

GOOD = """
[[funnels]]
name = "from news to an order"
within_s = 600
steps = [{ mini_app = "news" }, { mini_app = "order_ticket", action = "submit" }, { screen = "done" }]

[[funnels]]
name = "one step"
within_s = 0.5
steps = [{ action = "open" }]
"""
ONE = '[[funnels]]\nname = "a"\nwithin_s = 1\nsteps = [{ action = "open" }]\n'
WRONG = {
    "funnels = 3": "'funnels' must be tables, each written as [[funnels]]",
    "[[funnel]]": "'funnel' is not a key (funnels)",
    "[[funnels]": "Expected ']]'",
    ONE.replace('name = "a"\n', ""): "funnel 1: 'name' must be a text of 1 to 200 characters, not None",
    ONE.replace('"a"', '""'): "funnel 1: 'name' must be a text of 1 to 200 characters, not ''",
    ONE.replace(
        "within_s = 1", "within_s = 0"
    ): "funnel 1 (a): 'within_s' must be a number of seconds up to 86400, not 0",
    ONE.replace("within_s = 1", "within_s = true"): "'within_s' must be a number of seconds up to 86400, not True",
    ONE.replace("within_s = 1", "within_s = 86401"): "'within_s' must be a number of seconds up to 86400, not 86401",
    ONE.replace("within_s = 1", "within_s = nan"): "'within_s' must be a number of seconds up to 86400, not nan",
    ONE.replace("within_s", "within"): "funnel 1: 'within' is not a key (name, steps, within_s)",
    ONE.replace('[{ action = "open" }]', "[]"): "funnel 1 (a): 'steps' must be a list of one or more tables, not []",
    ONE.replace('{ action = "open" }', "{ }"): "funnel 1 (a), step 1 must name one or more of mini_app, action, screen",
    ONE.replace(
        '{ action = "open" }', '"open"'
    ): "step 1 must name one or more of mini_app, action, screen, not 'open'",
    ONE.replace("action", "user"): "funnel 1 (a), step 1: 'user' is not a key (action, mini_app, screen)",
    ONE.replace('"open"', "3"): "funnel 1 (a), step 1: 'action' must be a text, not 3",
    ONE + ONE: "two funnels are named 'a'",
}


def test_funnels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "funnels.toml"
    path.write_text(GOOD)
    assert load_funnels(path) == (
        Funnel("from news to an order", 600, (Step("news"), Step("order_ticket", "submit"), Step(screen="done"))),
        Funnel("one step", 0.5, (Step(action="open"),)),
    )
    path.write_text("")
    assert load_funnels(path) == ()


@pytest.mark.parametrize(("content", "told"), WRONG.items())
def test_what_is_wrong_is_told_with_its_place(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "funnels.toml"
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        load_funnels(path)
    assert str(raised.value).startswith(f"funnels {path}")
    assert told in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"funnels {tmp_path}/none.toml: .*No such file"):
        load_funnels(tmp_path / "none.toml")
