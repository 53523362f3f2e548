"""Lakes for `warehouse.py`: simulated trading days, sent to an embedded broker, landed and enriched as ever."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from full_days import full_days

from usage_analytics import parts
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.topics import create_topic
from usage_analytics.micro_batch import land_window
from usage_analytics.settings import PREFIX, Settings, load_settings
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import KafkaTarget
from usage_analytics.trading_calendar import Window

FUNNELS = Path(__file__).with_name("peers") / "funnel.toml"
MEMORY_MB = 2_048  # with its default of 768, which the platform keeps to, DuckDB by hand gives up now and then
SEED_OF_LATE = 1_000  # so that other messages are sent than the day had


@dataclass(frozen=True)
class Lake:
    """Where it lies, below a home folder of its own, and its trading days and windows in order."""

    home: Path
    days: list[date]
    windows: list[str]

    @property
    def events(self) -> Path:
        """The folder of the Parquet files."""
        with at_home(self.home) as settings:
            return settings.lake / "usage_events" / settings.topic


@contextmanager
def at_home(home: Path) -> Iterator[Settings]:
    """The settings of a home folder, for this process and those that it starts meanwhile."""
    before = dict(os.environ)
    os.environ |= {
        PREFIX + "HOME": str(home),
        PREFIX + "MAX_MESSAGES_PER_RUN": str(10**9),
        PREFIX + "FUNNELS": str(FUNNELS),
        PREFIX + "WAREHOUSE_MEMORY": str(MEMORY_MB),
    }
    os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)  # messages come from the broker that is started here
    try:
        yield load_settings()
    finally:
        os.environ.clear()
        os.environ.update(before)


def one_day(home: Path, messages: int, partitions: int) -> Lake:
    """A lake of one trading day in one window."""
    with at_home(home) as settings, EmbeddedBroker.start(settings.broker_directory):
        create_topic(parts.kafka_client(settings), settings.topic, partitions)
        [day] = full_days(settings, 1)
        window = settings.calendar.windows_of(day)[-1]
        _send(settings, Scenario((day,), messages_per_day=messages, users=max(1, messages // 50), lanes=partitions))
        _land(settings, window)
    return Lake(home, [day], [window.key])


def many_days(home: Path, days: tuple[int, int], late: tuple[int, int], partitions: int) -> Lake:
    """A lake of trading days, each in a window of its own; then windows of late messages of the first of them.

    ``days``, ``late``: how many, and with how many messages each.
    """
    (count, messages), (late_windows, late_messages) = days, late
    with at_home(home) as settings, EmbeddedBroker.start(settings.broker_directory):
        create_topic(parts.kafka_client(settings), settings.topic, partitions)
        chosen = full_days(settings, count)
        windows = [settings.calendar.windows_of(day)[0] for day in chosen]
        users = max(1, messages // 50)
        for day, window in zip(chosen, windows, strict=True):
            _send(settings, Scenario((day,), messages_per_day=messages, users=users, lanes=partitions))
            _land(settings, window)
        for number, window in enumerate(settings.calendar.windows_of(chosen[-1])[1 : 1 + late_windows]):
            late_day = Scenario(chosen[:1], SEED_OF_LATE + number, late_messages, late_messages // 10, lanes=partitions)
            _send(settings, late_day)
            _land(settings, window)
            windows.append(window)
    return Lake(home, list(chosen), [window.key for window in windows])


def _send(settings: Settings, scenario: Scenario) -> None:
    simulate(scenario, KafkaTarget(parts.kafka_client(settings), settings.topic), None, processes=2)


def _land(settings: Settings, window: Window) -> None:
    while land_window(settings, window, window.start).messages:  # a run stops after some time
        pass
