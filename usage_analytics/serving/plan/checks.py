"""What must hold of a plan's tables before they become a file: a look-up trusts them."""

from math import isfinite
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.counts.transition_counts import LONGEST_CONTEXT
from usage_analytics.models.branching.factors.situations import STEPS
from usage_analytics.serving.plan.tables import DTYPES, Array, PlanTables
from usage_analytics.trading_calendar import PHASES

MOST_MINI_APPS = 2**16  # positions are 16 bits wide; keys of contexts then fit into 64 bits too
MOST_CLASSES = 2**8  # a user's is 8 bits wide
ROUNDING = 1e-4  # by which sums of a context's probabilities, each of 32 bits, may be off


def check_tables(tables: PlanTables) -> None:
    """ValueError that says which rule of `PlanTables` is broken."""
    _check_shapes(tables)
    _check_facts(tables)
    _check_numbers(tables)
    for name in ("context_keys", "user_keys", "entity_keys"):
        _check_keys(name, getattr(tables, name))
    if not len(tables.context_keys) or tables.context_keys[0] != 0:
        raise ValueError("the plan lacks the empty context, which answers where nothing else is known")
    base = len(tables.mini_apps) + 1
    if int(tables.context_keys[-1]) >= (LONGEST_CONTEXT + 1) * base**LONGEST_CONTEXT:
        raise ValueError(f"context_keys holds a key of a longer context than {LONGEST_CONTEXT} mini-apps")
    _check_lists("context", tables.context_starts, tables.entry_positions, len(tables.mini_apps))
    _check_lists("entity", tables.entity_starts, tables.entity_positions, len(tables.mini_apps))
    _check_entries(tables)
    _check_classes(tables)
    _check_entities(tables)
    _check_phases(tables)
    _check_prewarms(tables)


def _check_shapes(tables: PlanTables) -> None:
    mini_apps, contexts, classes = len(tables.mini_apps), len(tables.context_keys), len(tables.class_factors)
    users, entities = len(tables.user_keys), len(tables.entity_keys)
    entries, listed = (len(tables.entry_positions),), (len(tables.entity_positions),)
    shapes: dict[str, tuple[int, ...]] = {
        "saved_ms": (mini_apps,), "cost_ms": (mini_apps,), "payload_bytes": (mini_apps,),
        "context_keys": (contexts,), "context_starts": (contexts + 1,), "context_unlisted": (contexts, classes),
        "transitions": (contexts,), "entry_positions": entries, "entry_probabilities": entries,
        "revisit_factors": (len(STEPS), mini_apps), "class_factors": (classes, mini_apps),
        "class_revisits": (classes, len(STEPS)), "phase_factors": (1 + len(PHASES), mini_apps),
        "user_keys": (users,), "user_classes": (users,),
        "entity_keys": (entities,), "entity_starts": (entities + 1,), "entity_positions": listed,
        "entity_factors": listed, "entity_leads": listed, "prices": (len(tables.prices),),
        "slot_phases": (len(tables.prices),),
        **_prewarm_shapes(tables),
    }  # fmt: skip
    for name, dtype in DTYPES.items():
        array = getattr(tables, name)
        if array.dtype != dtype or array.shape != shapes[name]:
            raise ValueError(f"{name} must be {dtype} of shape {shapes[name]}, not {array.dtype} of {array.shape}")


def _check_facts(tables: PlanTables) -> None:
    facts, names = tables.facts, tables.mini_apps
    if not 0 < len(names) < MOST_MINI_APPS:
        raise ValueError(f"a plan has from 1 to {MOST_MINI_APPS - 1} mini-apps, not {len(names)}")
    if list(names) != sorted(set(names)):
        raise ValueError("mini_apps must be sorted, and each named once")
    if facts.created_at.tzinfo is None:
        raise ValueError("created_at needs a time zone")
    if facts.slot_minutes < 1:
        raise ValueError(f"slot_minutes must be at least 1, not {facts.slot_minutes}")
    if facts.transitions < 0:
        raise ValueError(f"a plan rests on 0 transitions or more, not {facts.transitions}")
    if not isfinite(facts.budget.bytes):
        raise ValueError("the budget of bytes is not finite")
    if not 0 < len(tables.class_factors) <= MOST_CLASSES:
        raise ValueError(f"a plan has from 1 to {MOST_CLASSES} classes of users, not {len(tables.class_factors)}")
    if list(facts.holds_on) != sorted(set(facts.holds_on)):
        raise ValueError("holds_on must rise from one day to the next")
    ZoneInfo(facts.timezone)  # ZoneInfoNotFoundError, a KeyError, names it


def _check_numbers(tables: PlanTables) -> None:
    for name, dtype in DTYPES.items():
        array = getattr(tables, name)
        if dtype.kind == "f" and not (np.isfinite(array) & (array >= 0)).all():
            raise ValueError(f"{name} holds a number that is negative or not finite")
    if (tables.transitions < np.int64(0)).any():
        raise ValueError("transitions holds a negative number")


def _check_keys(name: str, keys: Array) -> None:
    if (keys[1:] <= keys[:-1]).any():
        raise ValueError(f"{name} must rise from one to the next")


def _check_lists(whose: str, starts: Array, positions: Array, mini_apps: int) -> None:
    first, last = int(starts[0]), int(starts[-1])
    if first != 0 or last != len(positions) or (starts[1:] < starts[:-1]).any():
        raise ValueError(f"{whose}_starts must rise from 0 to the {len(positions)} positions")
    if len(positions) and int(positions.max()) >= mini_apps:
        raise ValueError(f"one {whose} lists position {int(positions.max())}, beyond the {mini_apps} mini-apps")
    owners = _owners(starts)
    listed = np.sort(owners * mini_apps + positions)
    if (listed[1:] == listed[:-1]).any():
        raise ValueError(f"one {whose} lists a mini-app twice")


def _check_entries(tables: PlanTables) -> None:
    owners, probabilities = _owners(tables.context_starts), tables.entry_probabilities
    sums = np.bincount(owners, probabilities, len(tables.context_keys))
    if sums.max() > 1.0 + ROUNDING:
        raise ValueError(f"the probabilities of a context add up to {sums.max():.6g}, more than 1")
    rises = (probabilities[1:] > probabilities[:-1]) & (owners[1:] == owners[:-1])
    if rises.any():
        raise ValueError("the entries of a context must come likeliest first")
    if (abs(tables.context_unlisted[:, 0] - np.maximum(1.0 - sums, 0.0)) > ROUNDING).any():
        raise ValueError("context_unlisted of class 0 must be what a context's probabilities leave of 1")


def _check_classes(tables: PlanTables) -> None:
    classes, of_users = len(tables.class_factors), tables.user_classes
    if (tables.class_factors[0] != 1.0).any() or (tables.class_revisits[0] != 1.0).any():
        raise ValueError("the factors of class 0, of users who are not known, must be 1")
    if len(of_users) and not 1 <= int(of_users.min()) <= int(of_users.max()) < classes:
        raise ValueError(
            f"the classes of users must lie between 1 and {classes - 1}, not {of_users.min()} and {of_users.max()}"
        )


def _check_entities(tables: PlanTables) -> None:
    if not (tables.entity_factors > 0.0).all():
        raise ValueError("entity_factors holds 0: a mini-app can be unlikely, not impossible")
    leads = np.bincount(_owners(tables.entity_starts), tables.entity_leads, len(tables.entity_keys))
    if (leads >= 1.0).any():
        raise ValueError(f"the leads of an entity add up to {leads.max():.6g}, which must be less than 1")


def _prewarm_shapes(tables: PlanTables) -> dict[str, tuple[int, ...]]:
    prewarms = len(tables.prewarm_slots)
    chances = (prewarms, len(tables.class_factors), len(tables.mini_apps))
    each = ("prewarm_slots", "prewarm_ends", "prewarm_prices")
    return {**dict.fromkeys(each, (prewarms,)), "prewarm_chances": chances}


def _check_prewarms(tables: PlanTables) -> None:
    _check_keys("prewarm_slots", tables.prewarm_slots)
    prices = tables.prices
    for slot, end in zip(tables.prewarm_slots.tolist(), tables.prewarm_ends.tolist(), strict=True):
        if not slot < end <= len(prices) or not (prices[slot + 1 : end] > prices[slot]).any():
            raise ValueError(f"what slot {slot} fetches ahead, until slot {end}, is for no dearer slot of the plan")
    if (tables.prewarm_chances > 1.0).any():
        raise ValueError(f"prewarm_chances holds {tables.prewarm_chances.max():g}, more than 1")


def _check_phases(tables: PlanTables) -> None:
    if (tables.phase_factors[0] != 1.0).any():
        raise ValueError("the factors of phase 0, outside the trading day, must be 1")
    if len(tables.slot_phases) and int(tables.slot_phases.max()) > len(PHASES):
        raise ValueError(f"slot_phases holds {int(tables.slot_phases.max())}, beyond the {len(PHASES)} phases")


def _owners(starts: Array) -> npt.NDArray[np.int64]:
    """Whose each list's elements are."""
    ends: npt.NDArray[np.int64] = starts.astype(np.int64)
    return np.repeat(np.arange(len(ends) - 1), np.diff(ends))
