"""The benchmarks still run, and say what they measure."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_enrichment() -> None:
    command = [sys.executable, str(BENCHMARKS / "enrichment.py")]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--messages" in told and "CPU" in told
    done = subprocess.run([*command, "--messages", "500", "--batch", "200"], capture_output=True, text=True, check=True)
    title, _, head, *rows = done.stdout.splitlines()
    assert title.startswith("500 messages of ") and head.split()[0] == "stage"
    assert [row.split()[0] for row in rows] == ["read", "parse", "judge", "whole", "whole_by_sql"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("ingestion.py", ("--messages", "3000", "--partitions", "2"), ("consume_in_python", "land", "enrich", "load")),
        (
            "warehouse.py",
            ("--events", "3000", "--partitions", "2", "--history", "1", "2", "--history-events", "3000"),
            ("load, platform", "load, DuckDB by hand", "marts, platform", "marts, DuckDB by hand", "days loaded"),
        ),
        ("roofline.py", ("--messages", "3000"), ("consume", "compress raw", "sum", "the whole, threads: 2")),
        (
            "market_hours.py",
            ("--minutes", "0.1", "--rate", "500"),
            ("messages were sent", "CPU of Dagster's processes"),
        ),
        (
            "plan_lookup.py",
            ("--contexts", "500", "--users", "500", "--single", "200", "--batch", "3000"),
            (
                "opened and asked once",
                "microseconds by the clock: p50",
                "p99",
                "look-ups a second",
                "MB",
                "to fetch ahead",
            ),
        ),
        (
            "plan_http.py",
            ("--contexts", "500", "--users", "500", "--rate", "50", "--seconds", "1"),
            ("50 requests at 50 a second", "{200: 50}", "p99", "CPU of the server"),
        ),
        ("simulation.py", ("--messages", "3000"), ("messages a second", "CPU seconds per million", "largest process")),
        ("off_policy_coverage.py", ("--runs", "2"), ("| 300 users | SNIPS | 2 | 0 |", "| longer tails | DR, misled |")),
        ("simulation.py", ("--messages", "3000", "--to-files", "--processes", "1"), ("messages a second",)),
        (
            "planted_walks.py",
            ("--users", "300", "--messages", "20000", "--days", "3"),
            ("counts", "with users", "with entities", "the planted process"),
        ),
        (
            "preload_policies.py",
            ("--users", "300", "--messages", "20000", "--days", "3", "--spreads", "0.5"),
            ("expected value", "the plan at price 1", "Guess.js on 4G", "times the best threshold of pairs"),
        ),
        (
            "prewarming.py",
            ("--users", "300", "--messages", "20000", "--days", "3"),
            ("price 1 all day", "prices, fetching ahead", "in the dearest slot", "fetched ahead: "),
        ),
    ],
)
def test_others(name: str, arguments: tuple[str, ...], told: tuple[str, ...]) -> None:
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(words in done.stdout for words in told), done.stdout


@pytest.mark.slow
def test_next_actions(shared_data: Path) -> None:
    neural = ("--neural",) if find_spec("tensorflow") else ()
    command = [sys.executable, str(BENCHMARKS / "next_actions.py"), str(shared_data), "--only", "sepsis", *neural]
    done = subprocess.run([*command, "--orders", "2"], capture_output=True, text=True, check=True)
    told = (
        "sepsis",
        "Kneser-Ney, order 2",
        "counts alone",
        *(("session-kNN", "GRU") if neural else ()),
    )
    assert all(words in done.stdout for words in told), done.stdout
