"""What a plan covers: which contexts it can be asked for, and how much it may preload at a moment."""

from __future__ import annotations

from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.serving.decisions.expected_value import Budget

Context = tuple[str, ...]

MINIMUM_TRANSITIONS = 10  # a context seen less often is answered by a shorter one
MOST_ASKED = 1_000  # mini-apps of a context that a look-up takes, beyond those that choose what is listed
BUDGET = Budget(calls=3, bytes=16e6)


def contexts_of(counts: NGramModel, max_order: int) -> list[Context]:
    """The contexts that a plan tells of, the empty one first."""
    return [(), *(context for context in counts.contexts(max_order, MINIMUM_TRANSITIONS) if context)]
