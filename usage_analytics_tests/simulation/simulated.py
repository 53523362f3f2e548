"""Reads simulated messages as a stranger would, from their bytes alone; and the truth from the files beside them.

The tests of this folder hold in other worlds as well: SIMULATED_SEED=8, 9 and 11 were tried.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from usage_analytics.simulation.catalogue import TOOLS
from usage_analytics.simulation.labels import Totals
from usage_analytics.simulation.market_day import MINUTE_US
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import NO_TROUBLE, Scenario, Trouble, trading_days
from usage_analytics.simulation.targets import FolderTarget

DAY = date(2026, 11, 20)
SEED = int(os.environ.get("SIMULATED_SEED", "7"))  # one seed keeps the everyday suite quick; see the docstring
WEEKS = trading_days(("XNYS",), date(2026, 9, 22), DAY)[::3]  # every third day of nine weeks
SPIKES = Trouble(0, 0, 0, 0, 0, 0, 0, 0, spikes_per_day=2, schema_change=False)
RATES = Trouble(duplicates=0.01, late=0.01, out_of_order=0.02, malformed=0.014, skewed_users=0.02, bots=0.02)
FIELDS = {
    "version": "$.v", "event_id": "$.event_id", "event_time": "$.event_time", "user": "$.user",
    "client_firm": "$.client_firm", "mini_app": "$.mini_app", "action": "$.action", "screen": "$.screen",
    "user_session": "$.user_session", "latency_ms": "$.latency_ms", "timing": "$.timing.latency_ms",
    "region": "$.properties.region", "desk": "$.properties.desk", "role": "$.properties.role",
    "instrument": "$.properties.instrument", "asset_class": "$.properties.asset_class",
    "payload_bytes": "$.properties.payload_bytes",
}  # fmt: skip


@dataclass(frozen=True)
class Simulated:
    """What was sent, a list for each lane in order of arrival; a row for each message that can be read; the truth."""

    totals: Totals
    values: list[list[bytes]]  # a tombstone is empty
    events: pl.DataFrame
    truth: Path

    @cached_property
    def walked(self) -> pl.DataFrame:
        """Events of the walks between mini-apps, each once, by user session and step."""
        here = ~pl.col("mini_app").is_in(TOOLS) & ~pl.col("screen").str.starts_with("popup/")
        return self.events.filter(here).unique("event_id", keep="first").sort("user_session", "time_us", "event_id")

    @cached_property
    def world(self) -> dict[str, Any]:
        """What `world.json` says."""
        return dict(json.loads((self.truth / "world.json").read_bytes()))

    @property
    def personas(self) -> list[str]:
        return [persona["name"] for persona in self.world["personas"]]

    def table(self, name: str) -> pl.DataFrame:
        """A table of the truth that holds on every day."""
        return pl.read_parquet(self.truth / f"{name}.parquet")

    def of_day(self, name: str, day: date = DAY) -> pl.DataFrame:
        """A table of the truth of one day."""
        return pl.read_parquet(self.truth / f"day={day}" / f"{name}.parquet")

    def plan(self, day: date = DAY) -> dict[str, Any]:
        """Episodes and the schema change of one day."""
        return dict(json.loads((self.truth / f"day={day}" / "episodes.json").read_bytes()))

    def episodes(self, kind: str, day: date = DAY) -> list[dict[str, Any]]:
        """The episodes of a kind on one day, in order."""
        found = [episode for episode in self.plan(day)["episodes"] if episode["kind"] == kind]
        return sorted(found, key=lambda episode: int(episode["start_us"]))

    def persona_of_users(self, day: date = DAY) -> pl.DataFrame:
        """Each user's persona on one day."""
        return self.of_day("users", day).select("user", "persona")


def scenario(*days: date, trouble: Trouble = NO_TROUBLE, **changes: Any) -> Scenario:
    """A scenario of 2026-11-20 without trouble, with some things changed."""
    return Scenario(days=days or (DAY,), trouble=trouble, **{"lanes": 2, "seed": SEED, **changes})


@contextmanager
def simulated(chosen: Scenario) -> Iterator[Simulated]:
    """Simulate into files and read them; they are there as long as the context."""
    with tempfile.TemporaryDirectory() as name:
        target, truth = FolderTarget(Path(name) / "messages"), Path(name) / "truth"
        totals = simulate(chosen, target, truth, processes=2)
        values = [target.path(lane).read_bytes().split(b"\n")[:-1] for lane in range(chosen.lanes)]
        yield Simulated(totals, values, pl.concat(read(lane, lines) for lane, lines in enumerate(values)), truth)


def read(lane: int, values: list[bytes]) -> pl.DataFrame:
    """A row for each message of a lane that is an object with all fields and a sensible time."""
    texts = ((position, _decoded(value)) for position, value in enumerate(values))
    lines = pl.DataFrame(
        [each for each in texts if each[1] is not None],
        schema={"position": pl.Int64, "text": pl.String},
        orient="row",
    )
    names = ", ".join(f"found[{place}] AS {name}" for place, name in enumerate(FIELDS, 1))
    with duckdb.connect() as connection:
        connection.register("lines", lines.to_arrow())
        query = "CASE WHEN json_valid(text) THEN json_extract_string(text, $paths) END AS found"
        found = connection.sql(
            f"SELECT position, {names} FROM (SELECT position, {query} FROM lines) ORDER BY position",
            params={"paths": list(FIELDS.values())},
        )
        rows = pl.DataFrame(pl.from_arrow(found.to_arrow_table()))
    rows = rows.filter(pl.col("mini_app").is_not_null(), ~pl.col("event_time").str.starts_with("1970"))
    time = pl.col("event_time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC").dt.timestamp("us")
    return rows.drop("timing").with_columns(
        pl.col("version", "payload_bytes").cast(pl.Int64), rows["latency_ms"].fill_null(rows["timing"]),
        lane=pl.lit(lane), time_us=time, minute_us=time // MINUTE_US * MINUTE_US,
    )  # fmt: skip


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def first_events(found: Simulated) -> pl.DataFrame:
    """The first event of each walk."""
    return found.walked.group_by("user_session", maintain_order=True).first()


def users_seen(events: pl.DataFrame, app: str) -> set[str]:
    """Who used a mini-app."""
    return set(events.filter(pl.col("mini_app") == app)["user"])
