"""Sends a simulation to the platform's own topic, and never more than Kafka keeps until it is landed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.topics import ensure_topic
from usage_analytics.settings import Settings
from usage_analytics.simulation.backpressure import Backpressure, most_waiting
from usage_analytics.simulation.labels import Totals
from usage_analytics.simulation.run import Watch, simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import KafkaTarget

# Shows how a simulation stands while it runs, and asks the watch it is given whether to hold it back.
Show = Callable[[Scenario, Backpressure], AbstractContextManager[Watch]]


def into_kafka(
    settings: Settings, scenario: Scenario, truth: Path, show: Show, *, speed: float = float("inf"),
    processes: int = 2, max_waiting: int = 0,
) -> Totals:  # fmt: skip
    """Send a scenario, a lane for each Kafka partition that the topic has; one is created with the scenario's lanes.

    ``max_waiting`` messages of a Kafka partition may wait to be landed; 0: as many as half of what the topic keeps.
    """
    _refuse_future(scenario)
    client = parts.kafka_client(settings)
    ensure_topic(client, settings.topic, scenario.lanes)
    with parts.kafka_source(settings) as source:
        scenario = replace(scenario, lanes=len(source.watermarks()))
        most = max_waiting or most_waiting(client, settings.topic)
        pressure = Backpressure(source, parts.offset_log(settings).committed, most)
        with show(scenario, pressure) as watch:
            target = KafkaTarget(client, settings.topic)
            return simulate(scenario, target, truth, speed=speed, processes=processes, watch=watch)


def _refuse_future(scenario: Scenario) -> None:
    latest = max(scenario.days)
    if latest > datetime.now(UTC).date():
        raise UserError(f"simulation: {latest} is to come; as messages of today its events would be dead letters: --to")
