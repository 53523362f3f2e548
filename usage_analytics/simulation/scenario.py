"""All that a simulation depends on; two equal scenarios give the same messages, byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from usage_analytics.errors import UserError
from usage_analytics.trading_calendar import TradingClock, trading_calendar

STORY_BEFORE = timedelta(days=28)  # by default a new mini-app is in the middle of its adoption on the first day
MOST_PER_USER, LEAST_PER_USER = 2_000, 10
MOST_USERS = 10_000_000  # all of them are held in memory
EVENTS_PER_USER = 50  # on an ordinary day, where the number of users is not given
MOST_LANES = 10_000  # each is a Kafka partition, or an open file
MOST_EPISODES = 9  # of a kind on a day: so many never meet, not even on a half day
MALFORMED_KINDS = (
    "empty_message", "not_utf8", "not_json", "not_an_object", "missing_field", "wrong_type", "absurd_time",
)  # fmt: skip


@dataclass(frozen=True)
class Trouble:
    """Rates of what goes wrong: shares of messages, or of users; and how often a day."""

    duplicates: float = 0.002
    late: float = 0.003
    out_of_order: float = 0.01
    malformed: float = 0.002
    skewed_users: float = 0.005
    bots: float = 0.01
    incidents_per_day: int = 2
    outages_per_day: int = 1
    spikes_per_day: int = 2
    schema_change: bool = True

    def __post_init__(self) -> None:
        for name in ("duplicates", "late", "out_of_order", "malformed", "skewed_users", "bots"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise UserError(f"simulation: {name} is a share from 0 to 0.5, found {getattr(self, name):g}")
        for name in ("incidents_per_day", "outages_per_day", "spikes_per_day"):
            if not 0 <= getattr(self, name) <= MOST_EPISODES:
                told = f"{name} is a number from 0 to {MOST_EPISODES}"
                raise UserError(f"simulation: {told}, found {getattr(self, name)}")


NO_TROUBLE = Trouble(0, 0, 0, 0, 0, 0, 0, 0, 0, schema_change=False)


@dataclass(frozen=True)
class Scenario:
    """Which trading days of which exchanges, how many messages of how many users, and what goes wrong.

    ``spread`` is the log-standard-deviation of latency, payload and preload cost over the mini-apps; ``lanes`` are
    the independent streams into which users are dealt, one for each Kafka partition.
    """

    days: tuple[date, ...]
    seed: int = 7
    messages_per_day: int = 1_000_000
    users: int = 20_000
    exchanges: tuple[str, ...] = ("XNYS",)
    lanes: int = 4
    spread: float = 0.8
    story_start: date | None = None
    trouble: Trouble = field(default_factory=Trouble)

    def __post_init__(self) -> None:
        _refuse_unless(bool(self.days), "at least one day is needed")
        _refuse_unless(bool(self.exchanges), "at least one exchange is needed")
        _refuse_unless(0 <= self.seed < 2**64, f"the seed is a number from 0 to 2**64 - 1, found {self.seed}")
        _refuse_unless(self.users >= 1, f"there is at least one user, found {self.users}")
        lanes = f"lanes (--partitions) are 1 to {MOST_LANES:,}"
        _refuse_unless(1 <= self.lanes <= MOST_LANES, f"{lanes}, found {self.lanes:,}")
        _refuse_unless(0 <= self.spread <= 3, f"the spread is from 0 to 3, found {self.spread:g}")
        _refuse_unless(len(set(self.exchanges)) == len(self.exchanges), "an exchange is named twice")
        most = f"at most {MOST_USERS:,} users are possible, found {self.users:,}; give fewer users more messages each"
        _refuse_unless(self.users <= MOST_USERS, most)
        each = self.messages_per_day / self.users
        told = f"{self.messages_per_day:,} messages a day of {self.users:,} users are {each:,.1f} each"
        limits = f"from {LEAST_PER_USER} to {MOST_PER_USER:,} are possible"
        _refuse_unless(LEAST_PER_USER <= each <= MOST_PER_USER, f"{told}; {limits}")
        for day in self.days:
            open_ = [e for e in self.exchanges if trading_calendar(TradingClock(e)).is_trading_day(day)]
            _refuse_unless(bool(open_), f"{day} is no trading day of {' or '.join(self.exchanges)}")

    @property
    def start(self) -> date:
        """The day from which adoption, churn and drift count."""
        return self.story_start or min(self.days) - STORY_BEFORE


def trading_days(exchanges: Sequence[str], first: date, last: date) -> tuple[date, ...]:
    """The days from first to last on which at least one of the exchanges trades."""
    calendars = [trading_calendar(TradingClock(exchange)) for exchange in exchanges]
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return tuple(day for day in days if any(calendar.is_trading_day(day) for calendar in calendars))


def _refuse_unless(holds: bool, sentence: str) -> None:
    if not holds:
        raise UserError(f"simulation: {sentence}")
