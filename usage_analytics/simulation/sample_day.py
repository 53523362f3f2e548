"""A small made-up trading day that follows the contract, for machines without recorded data."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from usage_analytics.trading_calendar import TradingCalendar

MINI_APPS = ["quotes", "charts", "news", "order_ticket", "blotter", "chat", "research", "risk", "watchlist", "alerts"]
FAVOURITES = 3  # each mini-app leads mostly to so many others


def sample_messages(
    trading_day: date, calendar: TradingCalendar, seed: int = 7
) -> Iterator[tuple[bytes | None, bytes]]:
    """Key and JSON of an endless stream of messages, user after user; the same for the same seed."""
    chance = random.Random(seed)
    opening = datetime.combine(trading_day, time(calendar.clock.opening_hour), tzinfo=calendar.clock.zone)
    hours = calendar.clock.closing_hour - calendar.clock.opening_hour
    leads_to = {app: chance.sample(MINI_APPS, FAVOURITES) for app in MINI_APPS}
    sequence = 0
    while True:
        user, app = f"user-{sequence:06d}", chance.choice(MINI_APPS)
        at = opening.astimezone(UTC) + timedelta(seconds=chance.uniform(0, hours * 3600 - 1200))
        for number in range(1 + int(chance.expovariate(1 / 12))):
            yield (
                user.encode(),
                f'{{"event_id":"sample-{seed}-{sequence}-{number}","event_time":"{at.isoformat()}","user":"{user}",'
                f'"client_firm":"firm-{sequence % 40:02d}","mini_app":"{app}","action":"open",'
                f'"latency_ms":{chance.lognormvariate(5, 0.6):.1f},"properties":{{"sequence":{sequence}}}}}'.encode(),
            )
            app = chance.choice(leads_to[app]) if chance.random() < 0.8 else chance.choice(MINI_APPS)
            at += timedelta(seconds=chance.uniform(1, 25))
        sequence += 1
