"""Reads simulated messages as a stranger would: from their bytes alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from usage_analytics.simulation.catalogue import TOOLS
from usage_analytics.simulation.lanes import Lane
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario, Trouble

DAY = date(2026, 11, 20)
COLUMNS = ("event_id", "user", "client_firm", "mini_app", "action", "screen", "user_session")


@dataclass(frozen=True)
class Messages:
    """All messages of a scenario by lane, in order of arrival; and a row for each that can be read."""

    values: list[list[bytes | None]]
    events: pl.DataFrame

    @property
    def walked(self) -> pl.DataFrame:
        """Events of the walks between mini-apps, each once, by user session and step."""
        here = ~pl.col("mini_app").is_in(TOOLS) & ~pl.col("screen").str.starts_with("popup/")
        return self.events.filter(here).unique("event_id", keep="first").sort("user_session", "time_us", "event_id")


def scenario(*days: date, trouble: Trouble = NO_TROUBLE, **changes: Any) -> Scenario:
    """A scenario of 2026-11-20 without trouble, with some things changed."""
    return Scenario(days=days or (DAY,), trouble=trouble, **{"lanes": 2, **changes})


def messages(chosen: Scenario) -> Messages:
    """Make a scenario's messages and read them."""
    values = [
        [value for batch in Lane(chosen, lane).batches() for piece in batch.messages() for value in piece.values]
        for lane in range(chosen.lanes)
    ]
    rows = [row for lane, column in enumerate(values) for row in _read(lane, column)]
    times = pl.col("event_time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC").dt.timestamp("us")
    return Messages(values, pl.DataFrame(rows, infer_schema_length=None).with_columns(time_us=times))


def _read(lane: int, values: list[bytes | None]) -> Iterator[dict[str, Any]]:
    for position, value in enumerate(values):
        try:
            found = json.loads(value or b"")
        except ValueError:
            continue
        if isinstance(found, dict) and "mini_app" in found and not found["event_time"].startswith("1970"):
            properties, timing = found["properties"], found.get("timing", found)
            yield {
                "lane": lane,
                "position": position,
                "version": found["v"],
                **{name: found[name] for name in COLUMNS},
                "event_time": found["event_time"],
                "latency_ms": str(timing["latency_ms"]),
                **{name: properties[name] for name in ("instrument", "asset_class", "region", "payload_bytes")},
            }


def app_shares(walked: pl.DataFrame) -> tuple[list[str], list[str], np.ndarray]:
    """Users, mini-apps, and how often each user used each."""
    counts = walked.pivot(on="mini_app", index="user", values="event_id", aggregate_function="len").fill_null(0)
    counts = counts.sort("user")
    apps = sorted(name for name in counts.columns if name != "user")
    return counts["user"].to_list(), apps, counts.select(apps).to_numpy().astype(float)
