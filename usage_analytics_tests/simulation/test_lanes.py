"""The same scenario gives the same messages, however it is cut up."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from pathlib import Path

import pytest
from simulation.simulated import DAY, SEED, scenario

from usage_analytics.simulation.lanes import Lane
from usage_analytics.simulation.market_day import day_factor
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import Scenario, Trouble
from usage_analytics.simulation.targets import FolderTarget

SMALL = scenario(users=600, messages_per_day=12_000, lanes=4, trouble=Trouble())


def contents(folder: Path) -> dict[str, str]:
    """Digest of each file below a folder, but for where and when it was sent."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "sent.json")
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@lru_cache
def values(chosen: Scenario) -> list[list[bytes | None]]:
    return [
        [v for batch in Lane(chosen, n).batches() for m in batch.messages() for v in m.values]
        for n in range(chosen.lanes)
    ]


def together(chosen: Scenario) -> list[bytes | None]:
    return list(chain.from_iterable(values(chosen)))


def test_one_seed_gives_the_same_bytes_with_one_and_with_four_processes(tmp_path: Path) -> None:
    found = []
    for processes in (1, 4):
        folder = tmp_path / str(processes)
        totals = simulate(SMALL, FolderTarget(folder), folder / "truth", processes=processes)
        found.append((totals, contents(folder)))
    assert found[0] == found[1]
    assert found[0][0].messages == sum(len(lane) for lane in values(SMALL))
    lines = [
        line
        for lane in range(4)
        for line in (tmp_path / f"1/messages-{lane:03d}.ndjson").read_bytes().split(b"\n")[:-1]
    ]
    assert lines == [value or b"" for lane in values(SMALL) for value in lane]


def test_one_seed_gives_the_same_bytes_in_another_interpreter() -> None:
    # Hashing of texts differs between interpreters; nothing may depend on it.
    code = (
        "import sys; sys.path[:0] = ['usage_analytics_tests']\n"
        "from simulation.test_lanes import SMALL, values\n"
        "from hashlib import sha256\n"
        "print(sha256(repr(values(SMALL)).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], env={"PYTHONHASHSEED": "1", "SIMULATED_SEED": str(SEED)},
    )  # fmt: skip
    assert done.stdout.strip() == sha256(repr(values(SMALL)).encode()).hexdigest()


def test_two_seeds_differ() -> None:
    assert not set(together(replace(SMALL, seed=SEED + 1))) & set(together(SMALL)) - {None}


def test_lanes_only_deal_the_messages_out() -> None:
    assert Counter(together(SMALL)) == Counter(together(replace(SMALL, lanes=1)))


def test_a_day_is_the_same_alone_and_among_others() -> None:
    story = date(2026, 11, 1)
    chosen = replace(SMALL, days=(date(2026, 11, 19), DAY), story_start=story)
    both = [m.values for b in Lane(chosen, 0).batches() for m in b.messages()]
    apart = [
        m.values for day in chosen.days for b in Lane(replace(chosen, days=(day,)), 0).batches() for m in b.messages()
    ]
    assert both == apart


def test_days_that_overlap_come_in_order_of_arrival() -> None:
    days = (date(2026, 11, 19), DAY)  # in New York and Tokyo one begins before what is late of the other has come
    chosen = replace(SMALL, days=days, exchanges=("XNYS", "XTKS"), trouble=Trouble(late=0.2))
    arrivals = [m.arrival_us.tolist() for b in Lane(chosen, 0).batches() for m in b.messages()]
    together = list(chain.from_iterable(arrivals))
    assert together == sorted(together)


@pytest.mark.parametrize("lane", range(4))
def test_messages_come_in_order_of_arrival_and_a_user_stays_in_a_lane(lane: int) -> None:
    arrivals, keys = [], set()
    for messages in (piece for batch in Lane(SMALL, lane).batches() for piece in batch.messages()):
        arrivals += messages.arrival_us.tolist()
        keys |= set(messages.keys)
    assert arrivals == sorted(arrivals)
    assert {int(key[1:]) % 4 for key in keys} == {lane}


def test_the_number_of_messages_is_about_what_was_asked_for() -> None:
    plain = scenario(users=2_000, messages_per_day=100_000, lanes=1)
    assert len(together(plain)) == pytest.approx(100_000 * day_factor(plain, DAY, "XNYS"), rel=0.03)
