"""Usage events, and funnels, for hypothesis to draw: few users and mini-apps, and what the marts could trip over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import cycle, islice, product
from typing import TypeVar

from hypothesis import strategies as st

from usage_analytics_tests.warehouse.funnel_oracle import Funnel, Step
from usage_analytics_tests.warehouse.session_oracle import GAP_US, SECOND_US, Event, events_of_users

T = TypeVar("T")
DAY_US = 86_400 * SECOND_US
# Over a weekend, so that trading days are not calendar days; the first two and the last two touch.
DAYS = (date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 24))
MANY_DAYS = tuple(day for n in range(45) if (day := date(2026, 9, 28) + timedelta(n)).weekday() < 5)[:30]
USERS = ("0" * 64, "0" * 63 + "1", "3a" * 32, "f" * 64)
MINI_APPS = ("quotes", "chart", "Chart", "chart ", 'it\'s "news" %_;--', "größe 漢字 🙂", "e\u0301", "\u00e9", "null")
ACTIONS = (None, "", "click", "error", "Error", "o'pen", "NULL")
SCREENS = (None, "", "main", "Main", "\\ \"ß\" 's'")
FIRMS = (None, "", "acme", "Zebra", "ärzte", "acme ")
# Most events have an id of their own; these come again, at other places on Kafka, of other users and on other days.
EVENT_IDS = (None, None, None, None, None, "a", "A", "é")
GAPS_US = (0, 0, 1, 1_000, 1_001_000, 5 * SECOND_US - 1, 5 * SECOND_US, 5 * SECOND_US + 1, 60 * SECOND_US - 1,
           60 * SECOND_US, GAP_US - 1, GAP_US, GAP_US + 1)  # fmt: skip
LATENCIES_MS = (0.0, -0.0, -1.0, -0.0004, -5e-324, 5e-324, 0.0004, 0.0009, 0.001, 0.0095, 0.29, 1.001, 37.512, 4.35,
                999.9999, 1_799_999.9999, 1_800_000.0, 1.0e9, -1.0e12)  # fmt: skip
PAYLOADS = (0.0, -0.0, -1.0, -0.5, 5e-324, 0.5, 0.999, 1.5, 2.0**30, 2.0**30 + 0.5, 1e12, 1e300)
MOST_EVENTS_A_DAY = 30  # even with the longest gaps they are within a day


@dataclass(frozen=True)
class _Draft:
    """An event that has no time and no place on Kafka yet."""

    user_id: str
    gap_us: int  # since the user's event before
    arrival: int  # events are on Kafka in this order
    kafka_partition: int
    event_id: str | None
    mini_app: str
    action: str | None
    screen: str | None
    client_firm: str | None
    latency_ms: float | None
    payload_bytes: float | None
    answer_us: int | None  # where given, the latency ends so long after the user's next event
    redelivered: tuple[int, int] | None  # arrival and Kafka partition of the same message once more


def latencies_ms() -> st.SearchStrategy[float | None]:
    """Of each length up to sixteen digits of microseconds, and around each power of ten."""
    around_powers = st.builds(lambda d, off: (10**d + off) / 1000, st.integers(0, 15), st.sampled_from((-1, 0, 1)))
    return st.one_of(st.none(), st.sampled_from(LATENCIES_MS), around_powers, st.floats(0, 1e6))


def payloads() -> st.SearchStrategy[float | None]:
    """Whole numbers of bytes and others, countable ones and not."""
    return st.one_of(st.none(), st.sampled_from(PAYLOADS), st.integers(0, 2**31).map(float), st.floats(0, 1e6))


@st.composite
def event_lists(
    draw: st.DrawFn, *, days: Sequence[date] = DAYS, users: Sequence[str] = USERS, most_a_day: int = MOST_EVENTS_A_DAY
) -> list[Event]:
    """Usage events of one to four trading days, in no order; each at its own place on Kafka, offsets without gaps."""
    drafts = _drafts(draw(_few(users)), draw(_few(MINI_APPS)), draw(_few(ACTIONS)), draw(_few(SCREENS)))
    arrived: list[tuple[int, Event]] = []
    for day in draw(st.sampled_from((1, 2, 4, 4)).flatmap(lambda count: _few(days, count))):
        least = draw(st.sampled_from((1, 5, 12, 20)))
        drawn = draw(st.lists(drafts, min_size=min(least, most_a_day), max_size=min(most_a_day, MOST_EVENTS_A_DAY)))
        arrived += _timed(drawn, day, at_the_end=draw(st.booleans()), named=len(arrived))
    return placed([event for _, event in sorted(arrived, key=lambda pair: pair[0])])


@st.composite
def uses_over_many_days(draw: st.DrawFn) -> list[Event]:
    """Usage events of up to 30 trading days, one user there on each of them; for views, which look back and forth."""
    days = MANY_DAYS[: draw(st.integers(1, len(MANY_DAYS)))]
    uses = [(number, USERS[0], MINI_APPS[0], None, None, None) for number in range(len(days))]
    one = st.tuples(
        st.integers(0, len(days) - 1), st.sampled_from(USERS), st.sampled_from(MINI_APPS[:3]),
        st.sampled_from(ACTIONS), latencies_ms(), st.sampled_from(EVENT_IDS),
    )  # fmt: skip
    events = []
    for number, (day, user, mini_app, action, latency_ms, event_id) in enumerate([*draw(st.lists(one)), *uses]):
        time_us, name = midnight_us(days[day]) + number * SECOND_US, event_id or f"e{number}"
        events.append(Event(name, days[day], user, time_us, mini_app, action, latency_ms=latency_ms))
    return placed(events)


@st.composite
def funnels(draw: st.DrawFn, events: Sequence[Event] = (), most_steps: int = 6) -> Funnel:
    """A funnel; where there are events, half of them ask for what one user did one after the other."""
    if draw(st.booleans()) and events:
        ordered = draw(st.sampled_from([*events_of_users(events).values()]))
        places = draw(st.lists(st.integers(0, len(ordered) - 1), min_size=1, max_size=most_steps).map(sorted))
        steps = [draw(_steps([ordered[place]])) for place in places]
    else:
        steps = draw(st.lists(_steps(events), min_size=1, max_size=most_steps))
    within_s = draw(st.sampled_from((1, 1.001, 4, 5, 10, 60, 1_799, 1_800, 1_801, 3_600, 86_400)))
    return Funnel(draw(st.sampled_from(("buy", "Buy", "it's", "größe"))), within_s, tuple(steps))


@st.composite
def events_and_funnels(draw: st.DrawFn, most_a_day: int = MOST_EVENTS_A_DAY) -> tuple[list[Event], list[Funnel]]:
    """Usage events, and up to three funnels made for them."""
    events = draw(event_lists(most_a_day=most_a_day))
    found = draw(st.lists(funnels(events), min_size=1, max_size=3, unique_by=lambda funnel: funnel.name))
    return events, found


FORTY_STEPS = Funnel(
    "forty steps", 86_400, tuple(islice(cycle((Step(MINI_APPS[0]), Step(action="click"), Step(MINI_APPS[1]))), 40))
)


def events_of_forty_steps(seconds_between: int = 60, day: date = DAYS[0]) -> list[Event]:
    """The events of one user that take all of `FORTY_STEPS`, and nothing else."""
    return placed(
        [
            Event(f"e{number}", day, USERS[0], midnight_us(day) + number * seconds_between * SECOND_US,
                  step.mini_app or "other", step.action)
            for number, step in enumerate(FORTY_STEPS.steps)
        ]
    )  # fmt: skip


def midnight_us(day: date) -> int:
    """When a day begins in UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND_US


def placed(events: Sequence[Event]) -> list[Event]:
    """The events at places on Kafka in the given order; offsets of each Kafka partition count from 0."""
    ends: dict[int, int] = {}
    found = []
    for event in events:
        offset = ends.get(event.kafka_partition, 0)
        ends[event.kafka_partition] = offset + 1
        found.append(replace(event, kafka_offset=offset))
    return found


def _few(things: Sequence[T], most: int = 3) -> st.SearchStrategy[list[T]]:
    return st.lists(st.sampled_from(things), min_size=1, max_size=most, unique=True)


def _drafts(
    users: Sequence[str], mini_apps: Sequence[str], actions: Sequence[str | None], screens: Sequence[str | None]
) -> st.SearchStrategy[_Draft]:
    arrivals, kafka_partitions = st.integers(0, 9), st.integers(0, 2)
    return st.builds(
        _Draft,
        user_id=st.sampled_from(users),
        gap_us=st.one_of(st.sampled_from(GAPS_US), st.integers(0, 10 * SECOND_US)),
        arrival=arrivals,
        kafka_partition=kafka_partitions,
        event_id=st.sampled_from(EVENT_IDS),
        mini_app=st.sampled_from(mini_apps),
        action=st.sampled_from(actions),
        screen=st.sampled_from(screens),
        client_firm=st.sampled_from(FIRMS),
        latency_ms=latencies_ms(),
        payload_bytes=payloads(),
        answer_us=st.sampled_from((None, None, None, -1, 0, 1)),
        redelivered=st.one_of(st.none(), st.none(), st.none(), st.tuples(arrivals, kafka_partitions)),
    )


def _timed(drafts: Sequence[_Draft], day: date, at_the_end: bool, named: int) -> list[tuple[int, Event]]:
    """Arrivals and events of a day, each user's from its first instant on or up to its last."""
    clocks = dict.fromkeys((draft.user_id for draft in drafts), 0)
    times = []
    for draft in drafts:
        clocks[draft.user_id] += draft.gap_us
        times.append(clocks[draft.user_id])
    found = []
    for number, draft in enumerate(drafts):
        later = (times[n] for n in range(number + 1, len(drafts)) if drafts[n].user_id == draft.user_id)
        until_next_us, latency_ms = next(later, times[number]) - times[number], draft.latency_ms
        if draft.answer_us is not None:
            latency_ms = (until_next_us + draft.answer_us) / 1000
        first_us = DAY_US - 1 - clocks[draft.user_id] if at_the_end else 0
        event = Event(
            draft.event_id or f"e{named + number}", day, draft.user_id, midnight_us(day) + first_us + times[number],
            draft.mini_app, draft.action, draft.screen, draft.client_firm, latency_ms,
            draft.payload_bytes,
            kafka_partition=draft.kafka_partition,
        )  # fmt: skip
        found.append((draft.arrival, event))
        if draft.redelivered is not None:
            arrival, kafka_partition = draft.redelivered
            found.append((arrival, replace(event, kafka_partition=kafka_partition)))
    return found


def _steps(events: Sequence[Event]) -> st.SearchStrategy[Step]:
    """Steps that name one, two or three things; of an event, or any."""
    seen = [(event.mini_app, event.action, event.screen) for event in events]
    things = st.sampled_from(seen or [*product(MINI_APPS, ACTIONS, SCREENS)])
    masks = st.sampled_from([mask for mask in product((True, False), repeat=3) if any(mask)])

    def named(thing: tuple[str, str | None, str | None], mask: tuple[bool, bool, bool]) -> Step:
        step = Step(*(value if wanted else None for value, wanted in zip(thing, mask, strict=True)))
        return Step(thing[0]) if step == Step() else step  # a step that names nothing is none

    return st.builds(named, things, masks)
