"""Answers "what would be preloaded for this user, or after these mini-apps, and why"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from usage_analytics import parts
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.serving.preload_plan import PlanItem, PreloadPlan
from usage_analytics.settings import Settings
from usage_analytics.warehouse.plans import newest_plan
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.transitions import mini_apps, recent_mini_apps

LONGEST_CONTEXT = 3


@dataclass(frozen=True)
class Answer:
    """What would be preloaded after ``context`` (oldest mini-app first); ``known_user``: it is a user's recent past."""

    trading_day: date
    context: tuple[str, ...]
    known_user: bool
    items: list[PlanItem]


def look_up(settings: Settings, asked: Sequence[str]) -> Answer:
    """The plan's answer for a user identifier, or for mini-apps, most recent last.

    ``asked``: one text, which is a user, else a mini-app, else mini-apps joined by '>'; or several, each a mini-app.
    """
    warehouse = parts.warehouse(settings)
    with warehouse.session() as session:
        newest = newest_plan(session)
    if newest is None:
        raise UserError(f"there is no preload plan in {settings.warehouse} yet; materialize preload_plan first")
    day, plan = newest
    recent = _recent(settings, warehouse, asked[0]) if len(asked) == 1 else ()
    context = recent or _context(asked, set(mini_apps(warehouse)))
    return Answer(day, context, bool(recent), PreloadPlan(plan).next(context))


def _recent(settings: Settings, warehouse: Warehouse, user: str) -> tuple[str, ...]:
    identifier = pseudonym(parts.lake_key(settings), user)
    return tuple(recent_mini_apps(warehouse, identifier, LONGEST_CONTEXT))


def _context(asked: Sequence[str], known: set[str]) -> tuple[str, ...]:
    # A name may hold a '>' itself: it is the mini-app's name before it is a context.
    single = len(asked) == 1 and asked[0] not in known
    named = tuple(part.strip() for part in asked[0].split(">")) if single else tuple(asked)
    unknown = [name for name in named if name not in known]
    if unknown:
        what = "neither a user with events nor a mini-app" if len(asked) == 1 else "not a mini-app"
        raise UserError(f"{unknown[0]!r} is {what} (ask for a user, or for mini-apps such as 'quotes > charts')")
    return named
