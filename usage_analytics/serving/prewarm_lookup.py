"""Answers "what is to be fetched now, for a user or for anybody, because it will soon be too dear, and why"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.serving.askers import instant_of, pseudonym_of
from usage_analytics.serving.plan.answer import PrewarmAnswer
from usage_analytics.settings import Settings


@dataclass(frozen=True)
class PrewarmLookUp:
    """The current plan's answer for a user, or for anybody, at a local time."""

    user: str | None
    at: datetime
    answer: PrewarmAnswer


def look_up_prewarm(settings: Settings, user: str | None, at: str | None) -> PrewarmLookUp:
    """For a user's identifier or pseudonym, or for anybody; at: a local time such as 09:15, now by default."""
    if user == "":
        raise UserError("USER is empty: name one, or leave it out for the population's answer")
    plan = parts.plan_folder(settings).current()
    moment = instant_of(plan, at, datetime.now(UTC))
    pseudonym = None if user is None else pseudonym_of(user, parts.lake_key(settings), plan)
    return PrewarmLookUp(user, moment, plan.prewarm(pseudonym, moment))
