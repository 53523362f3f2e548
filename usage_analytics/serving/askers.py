"""Who asks, and of when: the pseudonym under which a plan may know a user; the instant that a time of day means."""

from datetime import datetime
from zoneinfo import ZoneInfo

from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.models.branching.users.user_classes import PSEUDONYM
from usage_analytics.serving.preload_plan import PreloadPlan


def pseudonym_of(user: str, key: bytes | None, plan: PreloadPlan) -> str:
    """The pseudonym of an identifier, with the platform's key; else, or if the plan knows only it, the text itself.

    UserError without a key, where the text is no pseudonym.
    """
    is_pseudonym = PSEUDONYM.fullmatch(user) is not None
    if key is None:
        if not is_pseudonym:
            raise UserError(
                "user must be a pseudonym, 32 hexadecimal digits: to make one of an identifier, this process would "
                "need the pseudonym key (USAGE_ANALYTICS_PSEUDONYM_KEY)"
            )
        return user
    made = pseudonym(key, user)
    return user if is_pseudonym and not plan.knows(made) and plan.knows(user) else made


def instant_of(plan: PreloadPlan, text: str | None, now: datetime) -> datetime:
    """A time such as 09:15, in the plan's time zone, of the next day that the plan tells prices of; without one, now.

    Of the last such day where that has passed. UserError if it is no time.
    """
    local = now.astimezone(ZoneInfo(plan.tables.facts.timezone))
    if text is None:
        return local
    try:
        told = datetime.strptime(text, "%H:%M")
    except ValueError:
        raise UserError(f"at is a time of day in {local.tzinfo}, such as 09:15, found {text!r}") from None
    days = plan.tables.facts.holds_on
    day = next((day for day in days if day >= local.date()), days[-1] if days else local.date())
    return datetime.combine(day, told.time(), local.tzinfo)
