"""Who works with the simulated desktop: firms, desks, users, their persona, and how it may change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import ASIAN, DESKS, FIRM_WORDS, PERSONAS, REGION_OF_EXCHANGE
from usage_analytics.simulation.navigation import navigation
from usage_analytics.simulation.randomness import Flags, Ints, Reals
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.trading_calendar import TradingClock, trading_calendar

FIRM_SIZES = 0.9  # exponent of Zipf's law
ACTIVITY_SPREAD = 0.4
PRESENT = 0.85  # chance that a user works on a day
DRIFTERS, DRIFT_DAYS = 0.1, 56  # share of users that change persona, at a day of the story up to this one
ADOPTERS, ADOPTION_MIDDLE, ADOPTION_PACE = 0.7, 24.0, 6.0  # logistic growth, in days of the story
CHURN_DAYS = 21.0  # mean time until a user gives the churned mini-app up
OWN_ROLE = 0.85  # chance that the role in a user's profile is the persona's
MOST_SKEW_S = 3_600
USERS_PER_BOT = 5_000


@dataclass(frozen=True)
class Population:
    """One row per user, the bots last, in arrays of one length; firms and desks are positions in their lists."""

    scenario: Scenario
    firm: Ints
    desk: Ints
    role: Ints
    exchange: Ints
    activity: Reals
    persona_first: Ints
    persona_then: Ints
    drift_day: Reals  # day of the story; infinite for those who stay
    favourite: Ints
    adoption_day: Reals
    churn_day: Reals
    clock_skew_us: Ints
    is_bot: Flags

    def __len__(self) -> int:
        return len(self.firm)

    def persona(self, day: date) -> Ints:
        """Each user's persona on a day."""
        return np.where(self.drift_day <= self.story_day(day), self.persona_then, self.persona_first)

    def present(self, day: date) -> Flags:
        """Whether each user works on a day: some do, where their exchange trades. Bots have hours of their own."""
        chance = randomness.uniform(self.stream("presence"), np.arange(len(self)), day.toordinal())
        open_ = [trading_calendar(TradingClock(e)).is_trading_day(day) for e in self.scenario.exchanges]
        return np.asarray((chance < PRESENT) & ~self.is_bot & np.array(open_)[self.exchange])

    def story_day(self, day: date) -> int:
        """How many days after the beginning of the story a day is."""
        return (day - self.scenario.start).days

    def stream(self, purpose: str) -> np.uint64:
        """The start of the draws for one purpose."""
        return randomness.stream(self.scenario.seed, purpose)


def population(scenario: Scenario) -> Population:
    """All users of a scenario."""
    users = np.arange(scenario.users + bots(scenario))

    def chance(purpose: str) -> Reals:
        return randomness.uniform(randomness.stream(scenario.seed, purpose), users)

    def drawn(purpose: str, weights: Reals) -> Ints:
        return randomness.choice(np.cumsum(weights / weights.sum()), chance(purpose))

    firms = len(firm_names())
    shares = np.array([p.share for p in PERSONAS])
    first = drawn("persona", shares)
    firm = drawn("firm", np.arange(1, firms + 1) ** -FIRM_SIZES)
    roles = sorted({p.role for p in PERSONAS})
    own_role = np.array([roles.index(p.role) for p in PERSONAS])[first]
    another_role = (own_role + 1 + (chance("role") * (len(roles) - 1)).astype(np.int64)) % len(roles)
    others = [np.where(np.arange(len(shares)) == own, 0.0, shares) for own in range(len(shares))]
    adopts = chance("adopts") < ADOPTERS
    logit = np.log(1 / (1 - chance("adoption")) - 1)
    skewed = chance("skewed clock") < scenario.trouble.skewed_users
    skew = ((2 * chance("clock skew") - 1) * MOST_SKEW_S * 1e6).astype(np.int64)
    return Population(
        scenario,
        firm=firm,
        desk=drawn("desk", np.ones(len(DESKS))),
        role=np.where(chance("own role") < OWN_ROLE, own_role, another_role),
        # A firm sits in one place and works when the exchange there does.
        exchange=firm % len(scenario.exchanges),
        activity=np.exp(ACTIVITY_SPREAD * randomness.normal(randomness.stream(scenario.seed, "activity"), users)),
        persona_first=first,
        persona_then=_by_persona(first, others, chance("second persona")),
        drift_day=np.where(chance("drifts") < DRIFTERS, np.floor(chance("drift day") * DRIFT_DAYS), np.inf),
        favourite=_by_persona(first, navigation(scenario.seed).mix, chance("favourite")),
        adoption_day=np.where(adopts, ADOPTION_MIDDLE + ADOPTION_PACE * logit, np.inf),
        churn_day=CHURN_DAYS * randomness.exponential(randomness.stream(scenario.seed, "churn"), users),
        clock_skew_us=np.where(skewed & (users < scenario.users), skew, 0),
        is_bot=users >= scenario.users,
    )


def _by_persona(persona: Ints, weights: Sequence[Reals] | Reals, chance: Reals) -> Ints:
    """What each user draws by the weights of his persona."""
    found = np.zeros(len(persona), np.int64)
    for number, mine in enumerate(weights):
        here = persona == number
        found[here] = randomness.choice(np.cumsum(mine) / mine.sum(), chance[here])
    return found


def bots(scenario: Scenario) -> int:
    """How many scripted clients work beside the users."""
    return max(1, scenario.users // USERS_PER_BOT) if scenario.trouble.bots else 0


def firm_names() -> list[str]:
    """The client firms, largest first."""
    return [f"{place} {kind}" for kind in FIRM_WORDS[1] for place in FIRM_WORDS[0]]


def region(exchange: str) -> str:
    """The region of the users who work when an exchange does."""
    return REGION_OF_EXCHANGE.get(exchange, "asia_pacific" if exchange in ASIAN else "emea")
