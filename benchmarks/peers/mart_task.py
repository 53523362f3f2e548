"""What every peer of `benchmarks/warehouse.py` is asked to do: all marts of one trading day, a Parquet file for each.

They are those of docs/marts.md, without the column `trading_day`. Peers that load first get the same command line.
"""

import argparse
import tomllib
from dataclasses import dataclass
from pathlib import Path

MARTS = (
    "user_sessions", "app_transitions", "user_profiles", "usage_series", "co_use", "paths", "friction",
    "latency_histogram", "funnels",
)  # fmt: skip


@dataclass(frozen=True)
class MartTask:
    """Folder of files of usage events, trading day (ISO text), folder of the marts, megabytes that may be taken."""

    lake: Path
    day: str
    folder: Path
    memory_mb: int

    @property
    def files(self) -> list[str]:
        return sorted(str(path) for path in self.lake.rglob("*.parquet"))

    def mart(self, name: str) -> str:
        return str(self.folder / f"{name}.parquet")


@dataclass(frozen=True)
class FunnelTask:
    """The funnel of `funnel.toml`, whose steps are mini-apps."""

    name: str
    within_us: int
    steps: list[str]


def asked() -> MartTask:
    """The task from the command line."""
    parser = argparse.ArgumentParser(description="One peer of benchmarks/warehouse.py; the benchmark runs it.")
    parser.add_argument("lake", type=Path, help="folder of Parquet files of usage events, at any depth")
    parser.add_argument("day", help="trading day, such as 2026-11-24")
    parser.add_argument("folder", type=Path, help="where the marts go")
    parser.add_argument("memory_mb", type=int, help="for engines that can be limited")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    return MartTask(chosen.lake, chosen.day, chosen.folder, chosen.memory_mb)


def funnel() -> FunnelTask:
    content = tomllib.loads(Path(__file__).with_name("funnel.toml").read_text(encoding="utf-8"))
    [one] = content["funnels"]
    return FunnelTask(one["name"], one["within_s"] * 1_000_000, [step["mini_app"] for step in one["steps"]])


def done() -> None:
    print("{}", flush=True)  # the benchmark looks at the files
