"""What a plan covers: which contexts it can be asked for, and how much it may preload at a moment."""

from __future__ import annotations

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.answer import Context

MINIMUM_TRANSITIONS = 10  # a context seen less often is answered by a shorter one
MOST_ASKED = 1_000  # mini-apps of a context that a look-up takes, beyond those that choose what is listed
BUDGET = Budget(calls=3, bytes=16e6)


def contexts_of(counts: NGramModel, max_order: int) -> list[Context]:
    """The contexts that a plan can be asked for, the empty one first; last those from the start of a user session."""
    return [*contexts_anywhere(counts, max_order), *counts.contexts_from_start(max_order, MINIMUM_TRANSITIONS)]


def contexts_anywhere(counts: NGramModel, max_order: int) -> list[tuple[str, ...]]:
    """Those that may be met anywhere in a user session, the empty one first."""
    return [(), *(context for context in counts.contexts(max_order, MINIMUM_TRANSITIONS) if context)]
