"""Answers "what would be preloaded for this user, or after these mini-apps, and why"."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from usage_analytics import parts
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.serving.preload_plan import PlanItem, PreloadPlan
from usage_analytics.settings import Settings, pseudonym_key

NEWEST_PLAN = "SELECT * EXCLUDE trading_day FROM preload_plan WHERE trading_day = ?"
LONGEST_CONTEXT = 3


@dataclass(frozen=True)
class Answer:
    """What would be preloaded after ``context`` (oldest mini-app first); ``known_user``: it is a user's recent past."""

    trading_day: date
    context: tuple[str, ...]
    known_user: bool
    items: list[PlanItem]


def look_up(settings: Settings, user_or_context: str) -> Answer:
    """The plan's answer for a user identifier, or for mini-apps joined by '>' (most recent last)."""
    warehouse = parts.warehouse(settings)
    day = warehouse.read("SELECT max(trading_day) AS day FROM preload_plan").item()
    if day is None:
        raise UserError(f"there is no preload plan in {settings.warehouse} yet; materialize preload_plan first")
    plan = PreloadPlan(warehouse.read(NEWEST_PLAN, [day]))
    identifier = pseudonym(pseudonym_key(settings), user_or_context)
    recent = tuple(warehouse.recent_mini_apps(identifier, LONGEST_CONTEXT))
    context = recent or _context(user_or_context, warehouse.read(KNOWN_MINI_APPS))
    return Answer(day, context, bool(recent), plan.next(context))


KNOWN_MINI_APPS = "SELECT DISTINCT next AS mini_app FROM app_transitions"


def _context(text: str, known: pl.DataFrame) -> tuple[str, ...]:
    mini_apps = tuple(part.strip() for part in text.split(">"))
    unknown = [name for name in mini_apps if name not in known.get_column("mini_app").to_list()]
    if unknown:
        raise UserError(
            f"{unknown[0]!r} is neither a user with events nor a mini-app (contexts look like 'news > tech')"
        )
    return mini_apps
