"""Who asks: the pseudonym under which a plan may know a user."""

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
