"""`usage-analytics simulate`, as a person uses it."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import psutil
import pytest
from simulation.simulated import scenario

from usage_analytics import cli
from usage_analytics.errors import UserError
from usage_analytics.simulation import run
from usage_analytics.simulation.scenario import Trouble
from usage_analytics.simulation.targets import FolderTarget
from usage_analytics.simulation.truth_folder import owned, refuse_sent, sent_to, world_folder
from usage_analytics_tests.integration.platform_under_test import clean_environment

SIMULATE = (sys.executable, "-m", "usage_analytics.cli", "simulate")
SMALL = ("--messages", "2000", "--users", "100", "--day", "2026-11-20", "--partitions", "2")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine, an own home."""
    clean_environment(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)


def refusal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["usage-analytics", "simulate", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    shown = capfd.readouterr()
    assert stop.value.code == 2
    assert "Traceback" not in shown.out + shown.err
    return shown.err


def ended(arguments: list[str], folder: Path, before: Callable[[], None] | None = None) -> str:
    """What a process of its own says on standard error when it refuses."""
    done = subprocess.run(
        [*SIMULATE, *arguments], cwd=folder, capture_output=True, text=True, check=False, preexec_fn=before
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("usage-analytics: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["usage-analytics", "simulate", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--day", "2026-11-26"), "2026-11-26 is no trading day of XNYS"),
        (("--day", "soon"), "--day is a day such as 2026-11-20, found 'soon'"),
        (("--day", "9999-12-31"), "--day is a day from 2010-01-01 to 2040-12-31, found '9999-12-31'"),
        (("--day", "2040-12-28", "--days", "30"), "trading days of XNYS are known there, not 30"),
        (("--days", "2000000"), "--days is at most 2,000, found 2,000,000"),
        (("--trouble", "spikes_per_day=50"), "spikes_per_day is a number from 0 to 9, found 50"),
        (("--days", "0"), "--days is a number from 1 on, found 0"),
        (("--exchange", "XMARS"), "exchange 'XMARS' is not in exchange_calendars"),
        (("--messages", "-5"), "--messages is a number from 1 on, found -5"),
        (("--users", "-1"), "--users is a number from 0 on, found -1"),
        (("--speed", "-60"), "--speed is max, or simulated seconds in a real one, from 0.01 to 1,000,000, found '-60'"),
        (("--speed", "1e-300"), "found '1e-300'"),
        (("--speed", "1e300"), "found '1e300'"),
        (("--seed", str(2**64)), "the seed is a number from 0 to 2**64 - 1, found 18446744073709551616"),
        (("--day", "2009-12-31"), "--day is a day from 2010-01-01 to 2040-12-31, found '2009-12-31'"),
        (("--partitions", "10000000000"), "lanes (--partitions) are 1 to 10,000, found 10,000,000,000"),
        (("--speed", "fast"), "found 'fast'"),
        (("--speed", "nan"), "found 'nan'"),
        (("--trouble", "late=-0.1"), "late is a share from 0 to 0.5, found -0.1"),
        (("--trouble", "schema_change=5"), "--trouble: schema_change is a number, such as schema_change=1, found '5'"),
        (("--messages", "99999999999999999999"), "at most 10,000,000 users are possible"),
        (("--messages", "500000000000"), "at most 10,000,000 users are possible, found 10,000,000,000"),
        (("--trouble", "late=often"), "--trouble: late is a number, such as late=1, found 'often'"),
        (("--trouble", "gremlins=1"), "--trouble: 'gremlins' is none of duplicates, late"),
        (("--spread", "-1"), "the spread is from 0 to 3, found -1"),
        (("--story-start", "once"), "--story-start is a day such as 2026-11-20, found 'once'"),
        (("--day", "2040-11-20"), "2040-11-20 has not come yet"),
        (("--day", "2040-11-20"), "days to come can be written to files: --to FOLDER"),
        ((), "no Kafka: set KAFKA_BOOTSTRAP_SERVERS, or start the embedded broker"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = refusal(capfd, monkeypatch, *arguments)
    assert shown.startswith("usage-analytics: ")
    assert shown.count("\n") == 1
    assert told in shown


def test_messages_and_truth_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, *SMALL, "--days", "2", "--to", "out")
    shown = capfd.readouterr().out
    lines = sum(path.read_bytes().count(b"\n") for path in (tmp_path / "out").glob("messages-*.ndjson"))
    assert f"{lines:,} messages of" in shown
    [truth] = (tmp_path / "home" / "simulation").glob("seed-7-*")
    assert "The truth is in" in shown
    assert truth.name in shown
    world = json.loads((truth / "world.json").read_text())
    assert world["scenario"]["messages_per_day"] == 2000
    for day in ("2026-11-20", "2026-11-23"):
        place = truth / f"day={day}"
        assert json.loads((place / "episodes.json").read_text())["episodes"]
        assert pl.read_parquet(place / "users.parquet").height == 101  # and a bot
        planned = pl.read_parquet(place / "expected.parquet").drop("exchange", "minute_us", "phase")
        assert planned.width >= 1
        assert all(total > 0 for total in planned.sum().row(0))
        labels = pl.read_parquet(place / "labels-*.parquet")
        assert {"bot", "out_of_order"} <= set(labels["kind"])
    counted = pl.read_parquet(truth / "day=*" / "minutes-*.parquet")["messages"].sum()
    malformed = pl.read_parquet(truth / "day=*" / "labels-*.parquet").filter(pl.col("kind") == "malformed").height
    assert counted + malformed == lines
    transitions = pl.read_parquet(truth / "transitions.parquet")
    sums = transitions.group_by("persona", "asset_class", "before_last", "last").agg(pl.col("probability").sum())
    assert (sums["probability"] - 1).abs().max() < 1e-5


def test_a_truth_of_another_world_is_not_mixed_with_this_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, *SMALL, "--to", "out", "--truth", "truth")
    other = ("--seed", "8", "--trouble", "late=0.1")
    shown = refusal(capfd, monkeypatch, *SMALL, "--to", "out", "--truth", "truth", *other)
    assert (
        "truth holds the truth of another world (seed 7, now 8; late 0.003, now 0.1); choose another --truth" in shown
    )


def test_each_world_has_a_truth_folder_of_its_own_whatever_its_days(tmp_path: Path) -> None:
    friday, monday, story = date(2026, 11, 20), date(2026, 11, 23), date(2026, 10, 23)
    worlds = [scenario(), scenario(seed=8), scenario(trouble=Trouble()), scenario(monday), scenario(lanes=3)]
    folders = {world_folder(tmp_path, world) for world in worlds}
    assert sorted(folder.name[:7] for folder in folders) == ["seed-7-"] * 4 + ["seed-8-"]
    assert {folder.parent for folder in folders} == {tmp_path / "simulation"}
    same = {world_folder(tmp_path, scenario(day, story_start=story)) for day in (friday, monday)}
    assert same == {world_folder(tmp_path, scenario(friday))}, "the story begins four weeks before the first day"


@pytest.mark.parametrize("content", ["", "{}", "[]", '"world"', '{"scenario": {}, "story_start": 5}'])
def test_a_damaged_world_is_one_sentence(
    content: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "world.json").write_text(content)
    shown = refusal(capfd, monkeypatch, *SMALL, "--to", "out", "--truth", str(tmp_path))
    assert f"{tmp_path}/world.json is damaged, or no world of a simulation; remove it, or choose another" in shown


def test_a_day_that_was_cut_off_is_known_as_such_until_it_is_sent_whole(tmp_path: Path) -> None:
    def stopped(standing: run.Standing) -> float:
        seen.append(datetime.fromtimestamp(standing.arrival_us / 1e6, UTC))
        raise UserError("enough")

    seen: list[datetime] = []

    day, target, truth = date(2026, 11, 20), FolderTarget(tmp_path / "out"), tmp_path / "truth"
    small = scenario(day, users=100, messages_per_day=2_000, lanes=1)
    with pytest.raises(UserError, match="enough"):
        run.simulate(small, target, truth, watch=stopped)
    [cut_off] = sent_to(truth, day)
    assert (cut_off["to"], cut_off["ended"]) == (f"folder {tmp_path / 'out'}", None)
    assert [at.date() for at in seen] == [day], "what is shown at the start"
    with pytest.raises(UserError, match=r"was sent to folder .* already in part, by a simulation that was cut off"):
        refuse_sent(truth, (day,), target.place)
    (truth / f"day={day}" / ".labels-000.parquet.0123.inprogress").write_text("half")
    run.simulate(small, target, truth)
    assert not list(truth.rglob("*.inprogress"))
    assert [bool(entry["ended"]) for entry in sent_to(truth, day)] == [False, True]


def test_two_simulations_do_not_write_one_truth_at_a_time(tmp_path: Path) -> None:
    small = scenario(users=100, messages_per_day=2_000)
    with owned(tmp_path, small), pytest.raises(UserError, match="another simulation writes its truth into"):
        run.simulate(small, FolderTarget(tmp_path / "out"), tmp_path)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    # A limit on the size of files fails a write as a full disk does, at the same place.
    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    shown = ended([*SMALL, "--to", "out", "--truth", "truth"], tmp_path, little)
    assert "truth/transitions.parquet cannot be written: File too large" in shown


def test_a_full_file_system_is_one_sentence(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not Path("/bin/mount").exists():
        pytest.skip("only root can mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        shown = ended([*SMALL, "--to", str(small / "out")], tmp_path)
        assert f"{small}/out/messages-00" in shown
        assert "cannot be written: No space left on device" in shown
    finally:
        subprocess.run(["/bin/umount", str(small)], check=True)


def test_a_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(standing: run.Standing) -> float:
        for child in multiprocessing.active_children():
            child.kill()
        return run.UNLIMITED

    monkeypatch.setattr(run, "LOOK_EVERY_S", 0.05)
    with pytest.raises(UserError, match="ended with exit code -9, by lack of memory"):
        run.simulate(scenario(users=100, messages_per_day=2_000), FolderTarget(tmp_path / "out"), None, watch=killed)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(tmp_path: Path, by: signal.Signals) -> None:
    arguments = ["--messages", "200000", "--day", "2026-11-20", "--speed", "60", "--to", "out", "--processes", "2"]
    command = subprocess.Popen([*SIMULATE, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("*.ndjson"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(command.pid).children(recursive=True)
    assert len(children) >= 2
    command.send_signal(by)
    command.wait(30)
    _, left = psutil.wait_procs(children, timeout=30)
    assert left == []
