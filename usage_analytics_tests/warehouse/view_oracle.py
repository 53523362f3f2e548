"""The views of docs/marts.md from usage events, by loops and dictionaries. Rows name their columns: `row._asdict()`."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from usage_analytics_tests.warehouse.mart_oracle import expected_latency_histogram
from usage_analytics_tests.warehouse.session_oracle import Event, each_event_once

RETURN_WITHIN_DAYS = 5
STICKINESS_DAYS = 20


class Adoption(NamedTuple):
    """A row of `app_adoption`."""

    mini_app: str
    tried: int
    first_day: date
    could_return: int
    retained: int


class Retention(NamedTuple):
    """A row of `retention`."""

    mini_app: str
    cohort_day: date
    age: int
    users: int


class Stickiness(NamedTuple):
    """A row of `stickiness`."""

    trading_day: date
    mini_app: str
    users: int
    users_of_20_days: int


class Percentiles(NamedTuple):
    """A row of `latency_percentiles`."""

    trading_day: date
    mini_app: str
    action: str | None
    p50_us: int
    p90_us: int
    p99_us: int


def expected_app_adoption(events: Iterable[Event]) -> set[Adoption]:
    uses = _Uses(events)
    rows = set()
    for mini_app in uses.mini_apps:
        users = uses.ages_of_users(mini_app)
        could_return = [
            (first, ages) for first, ages in users.values() if len(uses.days) - 1 - first >= RETURN_WITHIN_DAYS
        ]
        retained = [ages for _, ages in could_return if any(1 <= age <= RETURN_WITHIN_DAYS for age in ages)]
        first_day = uses.days[min(first for first, _ in users.values())]
        rows.add(Adoption(mini_app, len(users), first_day, len(could_return), len(retained)))
    return rows


def expected_retention(events: Iterable[Event]) -> set[Retention]:
    uses = _Uses(events)
    rows = set()
    for mini_app in uses.mini_apps:
        counts: Counter[tuple[int, int]] = Counter()
        for first, ages in uses.ages_of_users(mini_app).values():
            counts.update((first, age) for age in ages)
        for (first, age), users in counts.items():
            rows.add(Retention(mini_app, uses.days[first], age, users))
    return rows


def expected_stickiness(events: Iterable[Event]) -> set[Stickiness]:
    uses = _Uses(events)
    rows = set()
    for number, day in enumerate(uses.days):
        last_days = uses.days[max(0, number - STICKINESS_DAYS + 1) : number + 1]
        for mini_app in uses.mini_apps:
            users = uses.users[mini_app, day]
            lately = {user for each in last_days for user in uses.users[mini_app, each]}
            if users:
                rows.add(Stickiness(day, mini_app, len(users), len(lately)))
    return rows


def expected_latency_percentiles(events: Iterable[Event]) -> set[Percentiles]:
    histograms: dict[tuple[date, str, str | None], dict[int, int]] = defaultdict(dict)
    for trading_day, mini_app, action, bucket, count in expected_latency_histogram(events):
        histograms[trading_day, mini_app, action][bucket] = count
    return {Percentiles(*key, *(reached(counts, p) for p in (50, 90, 99))) for key, counts in histograms.items()}


def reached(counts: dict[int, int], percent: int) -> int:
    """The middle of the first bucket with which the percentage of all events is reached."""
    so_far, total = 0, sum(counts.values())
    for bucket in sorted(counts):
        so_far += counts[bucket]
        if 100 * so_far >= percent * total:
            return middle(bucket)
    raise AssertionError("no events")


def middle(bucket: int) -> int:
    """The lowest latency of a bucket plus half its width, in whole microseconds: 37,500 of 37,000 to 37,999."""
    digits, leading = divmod(bucket, 100)
    width = 10 ** (digits - 2) if digits > 2 else 1
    return leading * width + width // 2


class _Uses:
    """Who used which mini-app on which trading day; trading days are numbered among those that have events."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.users: dict[tuple[str, date], set[str]] = defaultdict(set)
        days, mini_apps = set(), set()
        for event in each_event_once(events):
            self.users[event.mini_app, event.trading_day].add(event.user_id)
            days.add(event.trading_day)
            mini_apps.add(event.mini_app)
        self.days, self.mini_apps = sorted(days), sorted(mini_apps)

    def ages_of_users(self, mini_app: str) -> dict[str, tuple[int, set[int]]]:
        """Each user's first trading day with a mini-app, and how many days later they used it: 0 and more."""
        found: dict[str, tuple[int, set[int]]] = {}
        for number, day in enumerate(self.days):
            for user in self.users[mini_app, day]:
                first, ages = found.setdefault(user, (number, set()))
                ages.add(number - first)
        return found
