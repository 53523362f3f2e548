"""Small plans, written down as people would, and what a look-up must answer, from the rule alone in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from hypothesis import strategies as st

from usage_analytics.models.branching.users.user_classes import user_key
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.tables import DTYPES, PlanFacts, PlanTables, context_keys_of, entity_key

MINI_APPS = ("blotter", "charts", "chat", "news", "quotes")
MARY, JOE = "a1" * 16, "0f" * 16
IBM, BUND = "IBM", "Bund 2.5% 2044 ü"
DAY = date(2026, 11, 23)
FIRST_STEPS = (1, 2, 3, 4, 5, 7, 10, 20)
FACTS = PlanFacts(
    DAY, "gru, by the contest of 2026-11-20", 12_345, Budget(3, 1e6), datetime(2026, 11, 23, 23, 5, tzinfo=UTC),
    "America/New_York", time(8), 15, (date(2026, 7, 1), DAY, date(2026, 11, 24)),
)  # fmt: skip

Context = tuple[str | None, ...]  # most recent last; None: the start of the user session


@dataclass(frozen=True)
class MadeUpPrewarm:
    """What one slot fetches ahead."""

    slot: int
    end: int
    price: float
    chances: Sequence[Mapping[str, float]]  # by class, from 0 on; who is not named has 0


@dataclass(frozen=True)
class MadeUp:
    """A plan as people would write it; per mini-app what is not given is 1, and bytes 1000."""

    entries: Mapping[Context, Mapping[str, float]] = field(default_factory=lambda: {(): {}})
    transitions: Mapping[Context, int] = field(default_factory=dict)
    saved_ms: Mapping[str, float] = field(default_factory=dict)
    cost_ms: Mapping[str, float] = field(default_factory=dict)
    payload_bytes: Mapping[str, float] = field(default_factory=dict)
    revisit: Mapping[tuple[int, str], float] = field(default_factory=dict)  # by the first step of a row
    classes: Sequence[Mapping[str, float]] = ()  # of users, from 1 on; "": mini-apps not named, and not listed
    class_revisit: Mapping[tuple[int, int], float] = field(default_factory=dict)  # by class, and first step of a row
    users: Mapping[str, int] = field(default_factory=dict)
    entities: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)  # factor and lead
    prices: Sequence[float] = (1.0,) * 36
    phases: Mapping[tuple[int, str], float] = field(default_factory=dict)  # factors, by row from 1 on
    slot_phases: Sequence[int] = (0,) * 36
    prewarms: Sequence[MadeUpPrewarm] = ()
    facts: PlanFacts = FACTS
    mini_apps: tuple[str, ...] = MINI_APPS

    def tables(self) -> PlanTables:
        place = {name: position for position, name in enumerate(self.mini_apps)}
        code: dict[str | None, int] = {None: 0, **{name: position + 1 for name, position in place.items()}}

        def key(context: Context) -> int:
            codes = np.array([[code[name] for name in reversed(context)]], dtype=np.int64)
            return int(context_keys_of(codes.reshape(1, len(context)), len(place))[0])

        contexts = sorted(self.entries, key=key)
        ranked = [sorted(self.entries[each].items(), key=lambda entry: -entry[1]) for each in contexts]
        rest = np.array([max(0.0, 1.0 - sum(self.entries[each].values())) for each in contexts])
        liked = ({}, *self.classes)
        users, entities = sorted(self.users, key=user_key), sorted(self.entities, key=entity_key)
        in_hand = [(place[name], *both) for each in entities for name, both in self.entities[each].items()]
        arrays = {
            "saved_ms": [self.saved_ms.get(name, 1.0) for name in place],
            "cost_ms": [self.cost_ms.get(name, 1.0) for name in place],
            "payload_bytes": [self.payload_bytes.get(name, 1000.0) for name in place],
            "context_keys": [key(each) for each in contexts],
            "context_starts": np.cumsum([0, *map(len, ranked)]),
            "context_unlisted": np.outer(rest, [mine.get("", 1.0) for mine in liked]),
            "transitions": [self.transitions.get(each, 1) for each in contexts],
            "entry_positions": [place[name] for entries in ranked for name, _ in entries],
            "entry_probabilities": [probability for entries in ranked for _, probability in entries],
            "revisit_factors": [[self.revisit.get((step, name), 1.0) for name in place] for step in FIRST_STEPS],
            "class_factors": [[mine.get(name, mine.get("", 1.0)) for name in place] for mine in liked],
            "class_revisits": [
                [self.class_revisit.get((row, step), 1.0) for step in FIRST_STEPS] for row in range(len(liked))
            ],
            "phase_factors": [[self.phases.get((row, name), 1.0) for name in place] for row in range(7)],
            "user_keys": [user_key(user) for user in users],
            "user_classes": [self.users[user] for user in users],
            "entity_keys": [entity_key(entity) for entity in entities],
            "entity_starts": np.cumsum([0, *(len(self.entities[entity]) for entity in entities)]),
            "entity_positions": [position for position, _, _ in in_hand],
            "entity_factors": [factor for _, factor, _ in in_hand],
            "entity_leads": [lead for _, _, lead in in_hand],
            "prices": self.prices,
            "slot_phases": self.slot_phases,
            "prewarm_slots": [each.slot for each in self.prewarms],
            "prewarm_ends": [each.end for each in self.prewarms],
            "prewarm_prices": [each.price for each in self.prewarms],
            "prewarm_chances": np.array(
                [[[mine.get(name, 0.0) for name in place] for mine in each.chances] for each in self.prewarms]
            ).reshape(len(self.prewarms), len(liked), len(place)),
        }
        cast = {name: np.array(arrays[name], dtype=dtype) for name, dtype in DTYPES.items()}
        return PlanTables(facts=self.facts, mini_apps=self.mini_apps, **cast)


def in_slot(slot: int) -> datetime:
    """An instant in a slot of FACTS."""
    return datetime(2026, 11, 24, 13, 0, tzinfo=UTC) + timedelta(minutes=15 * slot)


def expected_context(plan: MadeUp, context: Sequence[str | None]) -> Context:
    """The longest end of a context that the plan has; what is not known ends it."""
    for order in range(min(3, len(context)), 0, -1):
        end = tuple(context[len(context) - order :])
        if end in plan.entries:
            return end
    return ()


def expected_probabilities(
    plan: MadeUp, user: str | None, context: Sequence[str | None], entity: str | None = None, phase: int = 0
) -> dict[str, float]:
    """Of each candidate, the probability that it is opened next."""
    of_class = plan.users.get(user or "", 0)
    mine = plan.classes[of_class - 1] if of_class else {}
    in_hand = plan.entities.get(entity or "", {})
    current = context[-1] if context else None
    entries = plan.entries[expected_context(plan, context)]
    weights = {}
    for name, probability in entries.items():
        weight = probability
        if name in context:
            steps = list(reversed(context)).index(name) + 1
            row = max(step for step in FIRST_STEPS if step <= steps)
            weight *= plan.revisit.get((row, name), 1.0) * plan.class_revisit.get((of_class, row), 1.0)
        if name != current:
            weight *= mine.get(name, mine.get("", 1.0)) * in_hand.get(name, (1.0, 0.0))[0]
            weight *= plan.phases.get((phase, name), 1.0)
        weights[name] = weight
    total = sum(weights.values()) + max(0.0, 1.0 - sum(entries.values())) * mine.get("", 1.0)
    left = 1.0 - sum(lead for _, lead in in_hand.values())
    candidates = {*entries, *in_hand} - {current}
    return {
        name: (left * weights.get(name, 0.0) / total if total > 0 else 0.0) + in_hand.get(name, (1.0, 0.0))[1]
        for name in candidates
    }


def expected_values(
    plan: MadeUp, user: str | None, context: Sequence[str | None], entity: str | None = None, phase: int = 0
) -> dict[str, float]:
    """Of each candidate, what its preload is worth at price 1, in milliseconds."""
    return {
        name: probability * plan.saved_ms.get(name, 1.0) - plan.cost_ms.get(name, 1.0)
        for name, probability in expected_probabilities(plan, user, context, entity, phase).items()
    }


# Whole 128ths and 16ths: arrays of 32 bits hold them as they are.
FACTORS = st.integers(0, 64).map(lambda sixteenths: sixteenths / 16)
CONTEXTS = st.lists(st.sampled_from(MINI_APPS), max_size=3).map(tuple)
ASKED = st.tuples(
    st.sampled_from([(), (None,)]), st.lists(st.sampled_from((*MINI_APPS, "never seen")), max_size=25)
).map(lambda parts: (*parts[0], *parts[1]))
USERS = st.sampled_from([None, MARY, JOE, "c3" * 16])
ENTITIES = st.sampled_from([None, IBM, BUND, "never seen"])
SLOTS = st.integers(0, 35)
BUDGETS = st.builds(Budget, calls=st.integers(0, 6), bytes=st.integers(0, 5000).map(float))


@st.composite
def made_up_plans(draw: st.DrawFn) -> MadeUp:
    """Any plan whose numbers the arrays hold exactly."""

    def entries() -> dict[str, float]:
        names = draw(st.lists(st.sampled_from(MINI_APPS), unique=True, max_size=5))
        parts = draw(st.lists(st.integers(0, 25), min_size=len(names), max_size=len(names)))
        return {name: part / 128 for name, part in zip(names, parts, strict=True)}

    def of_mini_apps(values: st.SearchStrategy[float]) -> dict[str, float]:
        return draw(st.dictionaries(st.sampled_from(MINI_APPS), values))

    shares = st.integers(0, 25).map(lambda parts: parts / 128)
    in_hand = st.dictionaries(st.sampled_from(MINI_APPS), st.tuples(FACTORS.filter(bool), shares))
    classes = draw(st.lists(st.dictionaries(st.sampled_from(("", *MINI_APPS)), FACTORS), max_size=3))
    of_classes = st.integers(1, max(len(classes), 1))
    starting = st.lists(st.sampled_from(MINI_APPS), max_size=2).map(lambda names: (None, *names))
    contexts = draw(st.lists(st.one_of(CONTEXTS, starting), max_size=8))
    return MadeUp(
        entries={context: entries() for context in [(), *contexts]},
        saved_ms=of_mini_apps(st.integers(0, 2000).map(float)),
        cost_ms=of_mini_apps(st.integers(0, 100).map(float)),
        payload_bytes=of_mini_apps(st.integers(0, 3000).map(float)),
        revisit=draw(st.dictionaries(st.tuples(st.sampled_from(FIRST_STEPS), st.sampled_from(MINI_APPS)), FACTORS)),
        classes=classes,
        class_revisit=draw(st.dictionaries(st.tuples(of_classes, st.sampled_from(FIRST_STEPS)), FACTORS)),
        users=draw(st.dictionaries(st.sampled_from([MARY, JOE]), of_classes)) if classes else {},
        entities=draw(st.dictionaries(st.sampled_from([IBM, BUND]), in_hand)),
        phases=draw(st.dictionaries(st.tuples(st.integers(1, 6), st.sampled_from(MINI_APPS)), FACTORS)),
        slot_phases=[slot % 7 for slot in range(36)],
    )


@st.composite
def prewarmed_plans(draw: st.DrawFn) -> MadeUp:
    """Any plan, in which some slots are dear, and something is fetched ahead in the one before."""
    plan = draw(made_up_plans())
    chances = st.dictionaries(st.sampled_from(MINI_APPS), st.integers(0, 128).map(lambda parts: parts / 128))
    of_each = st.lists(chances, min_size=1 + len(plan.classes), max_size=1 + len(plan.classes))
    dear = draw(st.lists(st.sampled_from(range(1, 36, 2)), unique=True).map(sorted))
    prices = st.integers(2, 9).map(lambda halves: halves / 2)
    return replace(
        plan,
        prices=[4.0 if slot in dear else 1.0 for slot in range(36)],
        prewarms=[MadeUpPrewarm(slot - 1, slot + 1, draw(prices), draw(of_each)) for slot in dear],
    )
