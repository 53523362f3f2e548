"""Funnels as users define them, in a TOML file.

[[funnels]]
name = "from news to an order"
within_s = 600
steps = [{ mini_app = "news" }, { mini_app = "quotes" }, { mini_app = "order_ticket", action = "submit" }]
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usage_analytics.errors import UserError

NAMES = ("mini_app", "action", "screen")
LONGEST = 200  # characters of a funnel's name


@dataclass(frozen=True)
class Step:
    """What an event must have to take the step; what is None may be anything."""

    mini_app: str | None = None
    action: str | None = None
    screen: str | None = None


@dataclass(frozen=True)
class Funnel:
    """Steps to be taken in order within so many seconds from the first to the last."""

    name: str
    within_s: float
    steps: tuple[Step, ...]


def load_funnels(path: Path) -> tuple[Funnel, ...]:
    """The funnels of a file; a `UserError` names the file, the funnel and the key that is wrong."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"funnels {path}: {error}") from None
    _only_known(content, {"funnels"}, f"funnels {path}")
    listed = content.get("funnels", [])
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise UserError(f"funnels {path}: 'funnels' must be tables, each written as [[funnels]]")
    funnels = tuple(_funnel(each, f"funnels {path}, funnel {number}") for number, each in enumerate(listed, start=1))
    names = [funnel.name for funnel in funnels]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"funnels {path}: two funnels are named {name!r}")
    return funnels


def _funnel(table: dict[str, Any], place: str) -> Funnel:
    _only_known(table, {"name", "within_s", "steps"}, place)
    name, within_s, steps = table.get("name"), table.get("within_s"), table.get("steps")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
        raise UserError(f"{place}: 'name' must be a text of 1 to {LONGEST} characters, not {name!r}")
    place = f"{place} ({name})"
    if isinstance(within_s, bool) or not isinstance(within_s, int | float) or not 0 < within_s <= 86_400:
        raise UserError(f"{place}: 'within_s' must be a number of seconds up to 86400, not {within_s!r}")
    if not isinstance(steps, list) or not steps:
        raise UserError(f"{place}: 'steps' must be a list of one or more tables, not {steps!r}")
    return Funnel(name, within_s, tuple(_step(each, f"{place}, step {n}") for n, each in enumerate(steps, start=1)))


def _step(table: Any, place: str) -> Step:
    if not isinstance(table, dict) or not table:
        raise UserError(f"{place} must name one or more of {', '.join(NAMES)}, not {table!r}")
    _only_known(table, set(NAMES), place)
    for key, value in table.items():
        if not isinstance(value, str):
            raise UserError(f"{place}: {key!r} must be a text, not {value!r}")
    return Step(**table)


def _only_known(table: dict[str, Any], known: set[str], place: str) -> None:
    for key in table:
        if key not in known:
            raise UserError(f"{place}: {key!r} is not a key ({', '.join(sorted(known))})")
