"""What a preload plan answers."""

from __future__ import annotations

from dataclasses import dataclass

Context = tuple[str | None, ...]  # most recent last; None, first only: the start of the user session
START = "(start)"  # how people read and write that None


@dataclass(frozen=True, slots=True)
class Item:
    """One mini-app to preload, and what speaks for it: value_ms = probability * saved_ms - price * cost_ms.

    A factor of 1 makes no difference. What is `led` alone has factors of 1: the context does not list it.
    """

    mini_app: str
    probability: float
    context: Context  # that answered
    transitions: int  # seen after it
    revisit_factor: float  # of its latest visit in this user session, for users of this class
    user_factor: float  # of users of this class
    phase_factor: float  # of the phase of the trading day
    entity_factor: float  # of what the user has in hand
    led: float  # the share of `probability` that comes from what the user has in hand
    saved_ms: float
    cost_ms: float
    value_ms: float
    payload_bytes: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What to preload, best first, and what was known of what was asked."""

    plan: str
    items: tuple[Item, ...]
    context: Context  # the part of the asked one that answered, its end
    transitions: int  # seen after it
    whole_context: bool  # it is all that was asked, or as much as a plan's contexts have at most
    unknown_mini_apps: tuple[str, ...]
    known_user: bool  # else it is the population's answer
    known_entity: bool  # False too if none was asked
    price: float
    phase: str | None  # of the trading day, where it was asked for an instant in its slots


@dataclass(frozen=True, slots=True)
class PrewarmItem:
    """One mini-app to fetch ahead, and what speaks for it: value_ms = chance * saved_ms - price * cost_ms."""

    mini_app: str
    chance: float  # that it is opened in the dear times ahead, and not preloaded then
    saved_ms: float
    cost_ms: float
    value_ms: float
    payload_bytes: float


@dataclass(frozen=True, slots=True)
class PrewarmAnswer:
    """What to fetch ahead, best first; where that is nothing, why."""

    plan: str
    items: tuple[PrewarmItem, ...]
    times: tuple[str, ...]  # the dear ones that it is for, local, such as 09:30-10:00
    known_user: bool  # else it is the population's answer
    price: float | None  # of fetching it now; None where nothing is fetched ahead
    nothing_because: str | None  # None where there are items
