"""What the warehouse costs: loading, a day's marts, late rows; the platform on DuckDB, and beside it others.

    make bench-warehouse                                     # 30 million events, all peers
    .venv/bin/python benchmarks/warehouse.py --events 1000000 --history-events 100000

Simulated trading days are sent to an embedded broker, landed and enriched; all that follows starts from these Parquet
files. Each step is a process of its own and measured as a whole, with its start (the line `start`: imports, and an
empty warehouse opened). DuckDB may take the platform's memory (USAGE_ANALYTICS_WAREHOUSE_MEMORY) and all cores
wherever it runs; chDB and pandas take what they want.

  load   platform: the window's files checked byte by byte and copied, with their ledger in one transaction, as while
         messages pour in. By hand: one INSERT of the same files into DuckDB. chDB: one INSERT into a MergeTree table in
         the order of each user.
  close  platform: the day's fresh rows into DuckDB's own columns, as after its end.
  marts  all nine of the day. The platform: from its loaded warehouse into its tables. By hand in DuckDB (peers/
         marts_in_duckdb.sql): straight from the Parquet files, as chDB does, and again from its table; pandas likewise,
         but of a smaller day, as it holds all in memory, beside the platform's marts of just that one. Whoever makes
         other marts than the platform, by one value, ends the benchmark.
  late   a window of some 1,000 late rows of the first trading day, loaded, and that day closed again and its marts
         refreshed, when 1, 10 and 50 trading days are there (--history); without the start, which is the same.

chDB and pandas need --peers: a Python with the packages of benchmarks/peers/requirements.txt.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from same_marts import differences
from warehouse_lake import Lake, at_home, many_days, one_day
from whole_process import Cost, apart, cost_of

HERE = Path(__file__).parent
HEADING = f"{'CPU s/million':>14}{'wall s':>9}{'rows/CPU s':>12}{'peak MB':>9}{'times ours':>12}"


def main() -> None:
    """Make the lakes, run all, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=26_200_000, help="of an ordinary day; some more are sent")
    parser.add_argument("--pandas-events", type=int, default=2_600_000, help="the same for pandas")
    parser.add_argument("--history-events", type=int, default=600_000, help="the same for each day of the history")
    parser.add_argument(
        "--history", type=int, nargs="+", default=[1, 10, 50], help="trading days loaded, in this order"
    )
    parser.add_argument("--late-events", type=int, default=1_000)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--peers", type=Path, help="Python that has the packages of benchmarks/peers/requirements.txt")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        whole_day(apart(one_day, home / "whole", chosen.events, chosen.partitions), chosen.peers)
        shutil.rmtree(home / "whole")
        if chosen.peers is not None:
            part_of_day(apart(one_day, home / "part", chosen.pandas_events, chosen.partitions), chosen.peers)
            shutil.rmtree(home / "part")
        days, late = (chosen.history[-1], chosen.history_events), (len(chosen.history), chosen.late_events)
        by_history(apart(many_days, home / "history", days, late, chosen.partitions), chosen.history)


def whole_day(lake: Lake, peers: Path | None) -> None:
    """Load a day and make its marts, by the platform and by all who can take so much."""
    load, marts = of_platform(lake)
    rows = rows_of(load)
    by_hand = peer(lake, sys.executable, "load_in_duckdb.py", "duckdb_table")
    print_line("load, DuckDB by hand", rows, by_hand, load)
    shutil.rmtree(lake.home / "duckdb_table")
    if peers is not None:
        print_line("load, chDB", rows, peer(lake, peers, "load_in_chdb.py", "chdb_table"), load)
    print_line("marts, platform", rows, marts, marts)
    beside(lake, rows, marts, "marts, DuckDB by hand", sys.executable, "marts_in_duckdb.py", "duckdb")
    if peers is not None:
        beside(lake, rows, marts, "marts, chDB of files", peers, "marts_in_chdb.py", "chdb")
        beside(lake, rows, marts, "marts, chDB of table", peers, "marts_in_chdb.py", "chdb_table")


def part_of_day(lake: Lake, peers: Path) -> None:
    """The marts of a day that pandas can hold."""
    load, marts = of_platform(lake)
    rows = rows_of(load)
    print_line("marts, platform", rows, marts, marts)
    beside(lake, rows, marts, "marts, DuckDB by hand", sys.executable, "marts_in_duckdb.py", "duckdb")
    beside(lake, rows, marts, "marts, pandas", peers, "marts_in_pandas.py", "pandas")


def of_platform(lake: Lake) -> tuple[Cost, Cost]:
    """Load the lake and make the marts, with what that cost; they are written down for comparison."""
    day = lake.days[0].isoformat()
    start = step(lake, "start")
    load = step(lake, "load", *lake.windows)
    close = step(lake, "close", day)
    marts = step(lake, "marts", day)
    step(lake, "write", day, str(lake.home / "ours"))
    print(f"\n{rows_of(load):,} usage events, trading day {day}\n\n{'':<24}{HEADING}")
    print_line("start", rows_of(load), start, start)
    print_line("load, platform", rows_of(load), load, load)
    print_line("close, platform", rows_of(load), close, load)
    return load, marts


def by_history(lake: Lake, history: list[int]) -> None:
    """Load late rows of the first trading day as history grows, and refresh that day."""
    late, loaded = lake.windows[history[-1] :], 0
    print(f"\n{'days loaded':>11}{'late rows':>11}{'load':>20}{'refresh':>20}{'peak MB':>10}")
    print(f"{'':>22}{'wall s':>10}{'CPU s':>10}{'wall s':>10}{'CPU s':>10}")
    for days, window in zip(history, late, strict=True):
        step(lake, "load", *lake.windows[loaded:days])
        new = [day.isoformat() for day in lake.days[loaded:days]]
        step(lake, "close", *new)
        step(lake, "marts", *new)
        loaded = days
        cost = step(lake, "late", window, lake.days[0].isoformat())
        names = ("load_wall_ms", "load_cpu_ms", "refresh_wall_ms", "refresh_cpu_ms")
        times = "".join(f"{(cost.said[name] or 0) / 1e3:>10.2f}" for name in names)
        print(f"{days:>11}{rows_of(cost):>11,}{times}{cost.peak_mb:>10.0f}", flush=True)


def step(lake: Lake, *arguments: str) -> Cost:
    """Have the platform do something with a lake."""
    with at_home(lake.home):
        return cost_of([sys.executable, str(HERE / "warehouse_steps.py"), *arguments])


def peer(lake: Lake, python: str | Path, program: str, folder: str) -> Cost:
    """Have a program of benchmarks/peers/ do its task with a lake, into a folder beside it."""
    with at_home(lake.home) as settings:
        memory = str(settings.warehouse_memory)
    task = (str(lake.events), lake.days[0].isoformat(), str(lake.home / folder), memory)
    return cost_of([str(python), str(HERE / "peers" / program), *task])


def beside(lake: Lake, rows: int, ours: Cost, name: str, python: str | Path, program: str, folder: str) -> None:
    """Have a peer make the marts, print its line; `SystemExit` if they are others than the platform's."""
    print_line(name, rows, peer(lake, python, program, folder), ours)
    found = apart(differences, lake.home / "ours", lake.home / folder)
    if found:
        sys.exit("\n".join([f"{name}: other marts than the platform's", *found]))
    shutil.rmtree(lake.home / folder)


def rows_of(cost: Cost) -> int:
    return cost.said["rows"] or 0


def print_line(name: str, rows: int, cost: Cost, ours: Cost) -> None:
    each, rate = cost.cpu_s / rows * 1e6, rows / cost.cpu_s
    times = f"{cost.cpu_s / ours.cpu_s:>12.2f}"
    print(f"{name:<24}{each:>14.2f}{cost.wall_s:>9.1f}{rate:>12,.0f}{cost.peak_mb:>9.0f}{times}", flush=True)


if __name__ == "__main__":
    main()
