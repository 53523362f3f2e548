"""The benchmarks still run, and say what they measure."""

import subprocess
import sys
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
    assert [row.split()[0] for row in rows] == ["read", "parse", "judge", "whole"]
