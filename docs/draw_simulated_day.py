"""Draws docs/images/simulated_day.png: what a simulated trading day looks like, by family of mini-apps.

.venv/bin/python docs/draw_simulated_day.py
"""

import tempfile
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import matplotlib
import numpy as np
import polars as pl

matplotlib.use("Agg")
import matplotlib.dates
import matplotlib.pyplot as plt

from usage_analytics.simulation.catalogue import FAMILIES, FAMILY_OF
from usage_analytics.simulation.market_day import market_day
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import FolderTarget

DAY, NEW_YORK = date(2026, 11, 20), ZoneInfo("America/New_York")
PICTURE = Path(__file__).parent / "images" / "simulated_day.png"
NAMES = {"news_spike": "news spike", "latency_incident": "slow: {}", "outage": "outage: {}"}


def main() -> None:
    """Simulate the day, count its minutes, draw them."""
    scenario = Scenario((DAY,), messages_per_day=1_000_000, users=20_000)
    with tempfile.TemporaryDirectory() as folder:
        simulate(scenario, FolderTarget(Path(folder)), Path(folder) / "truth", processes=2)
        minutes = pl.read_parquet(f"{folder}/truth/day={DAY}/minutes-*.parquet")
    counts = (
        minutes.with_columns(family=pl.col("mini_app").replace_strict(FAMILY_OF))
        .group_by("minute_us", "family")
        .agg(pl.col("messages").sum())
        .pivot(on="family", index="minute_us", values="messages")
        .fill_null(0)
        .sort("minute_us")
    )
    times = counts["minute_us"].cast(pl.Datetime("us", "UTC")).to_list()
    figure, axes = plt.subplots(figsize=(11, 5), layout="constrained")
    colours = plt.get_cmap("tab20c")(np.linspace(0, 1, len(FAMILIES)))
    axes.stackplot(times, [counts[family] for family in FAMILIES], labels=list(FAMILIES), colors=colours, linewidth=0)
    top = float(counts.select(pl.sum_horizontal(*FAMILIES)).max().item())
    for number, episode in enumerate(market_day(scenario, DAY).episodes):
        begin, end = (np.datetime64(us, "us") for us in (episode.start_us, episode.end_us))
        axes.axvspan(begin, end, color="black", alpha=0.08, linewidth=0)
        label = NAMES[episode.kind].format(episode.subject)
        axes.text(begin, top * (1.02 - 0.05 * (number % 3)), label, fontsize=8)
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M", tz=NEW_YORK))
    axes.set(
        title=f"A simulated trading day, {DAY} (XNYS, New York time)",
        ylabel="messages in a minute",
        ylim=(0, top * 1.08),
    )
    axes.set_xlim(times[0], times[-1])
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.88), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
