"""Answers "what would be preloaded for this user, or after these mini-apps, and why"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches

from usage_analytics import parts
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.models.branching.users.user_classes import PSEUDONYM
from usage_analytics.serving.askers import instant_of
from usage_analytics.serving.plan.answer import START, Answer, Context
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.settings import Settings
from usage_analytics.warehouse.transitions import recent_mini_apps

SHOWN = 3  # mini-apps of a user's past, which may be long
REMEMBERED = 100  # of his newest user session, for what is come back to
REMEDY = "(ask for a user alone, or for mini-apps such as 'quotes > charts'; '(start)' may only come first)"


@dataclass(frozen=True)
class LookUp:
    """A plan's answer after ``context`` (oldest mini-app first); ``seen_user``: it is the end of a user's past.

    entity: what the user was said to have in hand. at: the instant of the answer, in the plan's time zone.
    """

    trading_day: date
    context: Context
    seen_user: bool
    entity: str | None
    at: datetime
    answer: Answer


def look_up(settings: Settings, asked: Sequence[str], entity: str | None = None, at: str | None = None) -> LookUp:
    """The current plan's answer for mini-apps, most recent last, or for a user's identifier or pseudonym.

    ``asked``: one text, which is a mini-app, else mini-apps joined by '>', else a user; or several, each a mini-app.
    The first may be START. Only a user is looked for in the warehouse. ``entity``: what the user has in hand, as
    messages name it. ``at``: a time of day such as 09:15, in the plan's time zone; by default it is now.
    """
    plan = parts.plan_folder(settings).current()
    now = instant_of(plan, at, datetime.now(UTC))
    day = plan.tables.facts.trading_day
    context = context_of(asked, plan)
    unknown = [name for name in context if name is not None and name not in plan.tables.mini_apps]
    if not unknown:
        return LookUp(day, context, False, entity, now, plan.next(None, context, at=now, entity=entity))
    none = f"mini-app of the plan of {day}{_near(unknown[0], plan)} {REMEDY}"
    if len(asked) > 1:
        raise UserError(f"{unknown[0]!r} is no {none}")
    warehouse, user = parts.warehouse(settings), pseudonym(parts.lake_key(settings), asked[0])
    recent = tuple(recent_mini_apps(warehouse, user, REMEMBERED))
    if not recent and PSEUDONYM.fullmatch(asked[0]):  # as the warehouse shows users
        user = asked[0]
        recent = tuple(recent_mini_apps(warehouse, user, REMEMBERED))
    if not recent:
        nor = "nor a" if unknown[0] == asked[0] else f"nor a context, for {unknown[0]!r} is no"
        raise UserError(f"{asked[0]!r} is neither a user with events {nor} {none}")
    began = (None, *recent) if len(recent) < REMEMBERED else recent
    return LookUp(day, recent[-SHOWN:], True, entity, now, plan.next(user, began, at=now, entity=entity))


def context_of(asked: Sequence[str], plan: PreloadPlan) -> Context:
    """Mini-apps by name, one by one or joined by '>', of which the first may be START.

    What is the name of a mini-app is that before it is a context or a start.
    """
    known = plan.tables.mini_apps
    names = [part.strip() for part in asked[0].split(">")] if len(asked) == 1 and asked[0] not in known else [*asked]
    began = names[:1] == [START] and START not in known
    return (None, *names[1:]) if began else tuple(names)


def _near(name: str, plan: PreloadPlan) -> str:
    """What may have been meant."""
    near = get_close_matches(name.lower(), plan.tables.mini_apps, n=1)
    return f"; is {near[0]!r} meant?" if near else ""
