"""Sends a simulation to the platform's own topic, and never more than Kafka keeps until it is landed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.planning import plan
from usage_analytics.ingestion.retention import topic_retention
from usage_analytics.ingestion.topics import ensure_topic, partitions_of
from usage_analytics.settings import Settings
from usage_analytics.simulation.backpressure import Backpressure, most_waiting
from usage_analytics.simulation.labels import Totals
from usage_analytics.simulation.run import Watch, simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import KafkaTarget
from usage_analytics.simulation.truth_folder import refuse_another_world, refuse_sent, world_folder

# Shows how a simulation stands while it runs, and asks the watch it is given whether to hold it back.
Show = Callable[[Scenario, Backpressure], AbstractContextManager[Watch]]


def into_kafka(
    settings: Settings, scenario: Scenario, truth: Path | None, show: Show, *, speed: float = float("inf"),
    processes: int = 2, max_waiting: int = 0, again: bool = False,
) -> tuple[Totals, Path]:  # fmt: skip
    """Send a scenario, a lane for each Kafka partition that the topic has; one is created with the scenario's lanes.

    Gives what was sent, and where its truth is: in ``truth``, or the world's own folder. ``max_waiting`` messages of a
    Kafka partition may wait to be landed; 0: as many as half of what the topic keeps. A topic that the lake does not
    go on with is a `UserError`, and so is one to which these days were sent before, unless ``again``.
    """
    _refuse_future(scenario)
    client = parts.kafka_client(settings)
    there = partitions_of(client, settings.topic)
    scenario = replace(scenario, lanes=there or scenario.lanes)
    folder = truth or world_folder(settings.home, scenario)
    refuse_another_world(folder, scenario)
    if not there:
        _refuse_lost_topic(settings, client)
        ensure_topic(client, settings.topic, scenario.lanes)
    with parts.kafka_source(settings) as source:
        plan(source, parts.offset_log(settings), 1)  # what landing would refuse is not worth sending
        target = KafkaTarget(client, settings.topic, source.topic_id())
        if not again and any(mark.high > mark.low for mark in source.watermarks().values()):
            refuse_sent(folder, scenario.days, target.place)
        most = max_waiting or most_waiting(topic_retention(client, settings.topic, settings.kafka_timeout_s))
        pressure = Backpressure(source, parts.offset_log(settings).committed, most)
        with show(scenario, pressure) as watch:
            return simulate(scenario, target, folder, speed=speed, processes=processes, watch=watch), folder


def _refuse_lost_topic(settings: Settings, client: dict[str, Any]) -> None:
    if parts.offset_log(settings).committed():
        raise UserError(
            f"topic {settings.topic!r} is not on Kafka at {client['bootstrap.servers']}, but the lake in "
            f"{settings.home} holds messages of it: it was deleted, or this is another cluster; give it its own "
            "USAGE_ANALYTICS_TOPIC or USAGE_ANALYTICS_HOME"
        )


def _refuse_future(scenario: Scenario) -> None:
    latest = max(scenario.days)
    if latest > datetime.now(UTC).date():
        told = f"{latest} has not come yet: on Kafka its messages would arrive before they happen"
        raise UserError(f"simulation: {told}; days to come can be written to files: --to FOLDER")
