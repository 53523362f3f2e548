"""The folder of plans: one answers, a crash leaves the old one, a swap is seen, a rollback is by name."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from crashing import Point, killed_at

from usage_analytics.errors import UserError
from usage_analytics.serving.live_plan import LivePlan
from usage_analytics.serving.plan.file import UnusablePlan
from usage_analytics.serving.plan.tables import PlanTables
from usage_analytics.serving.plan_folder import NoPlan, PlanFolder
from usage_analytics_tests.serving.made_up_plans import FACTS, MadeUp

DAY, DAY_BEFORE = date(2026, 11, 23), date(2026, 11, 20)


def tables(mini_app: str, day: date = DAY) -> PlanTables:
    """A plan that preloads one mini-app, whatever was asked."""
    facts = replace(FACTS, trading_day=day)
    return MadeUp(entries={(): {mini_app: 0.5}}, saved_ms={mini_app: 100.0}, facts=facts).tables()


def answer(folder: PlanFolder) -> str:
    [item] = folder.current().next(None, ()).items
    return item.mini_app


def put(path: Path, content: bytes) -> None:
    """In the place of a plan's file, which itself cannot be written."""
    path.unlink()
    path.write_bytes(content)


@pytest.fixture
def folder(memory_path: Path) -> PlanFolder:
    """A folder in which a plan answers 'news'."""
    folder = PlanFolder(memory_path / "plans")
    folder.publish(tables("news"))
    return folder


def test_what_is_published_answers(folder: PlanFolder) -> None:
    assert answer(folder) == "news"
    published = folder.publish(tables("charts"))
    assert published.current
    assert answer(folder) == "charts"
    assert folder.current().name == folder.current_name() == published.name
    assert published.name.startswith("2026-11-23-")
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(
        ["CURRENT", "plans.lock", *(f"{name}.plan" for name in folder.names())]
    )


def test_before_the_first_plan_it_is_said_what_to_do(memory_path: Path) -> None:
    folder = PlanFolder(memory_path / "none yet")
    told = f"there is no preload plan in {folder.path} yet: materialize preload_plan first"
    with pytest.raises(NoPlan, match=told):
        folder.current()
    assert (folder.names(), folder.current_name()) == ([], None)
    with pytest.raises(UserError, match="there is no plan '2026-11-23-0123456789ab' in"):
        folder.use("2026-11-23-0123456789ab")


def test_a_backfill_of_an_earlier_day_does_not_answer(folder: PlanFolder) -> None:
    published = folder.publish(tables("charts", DAY_BEFORE))
    assert not published.current
    assert answer(folder) == "news"
    assert folder.names()[1] == published.name
    assert folder.use(published.name).name == published.name
    assert answer(folder) == "charts"
    assert folder.publish(tables("chat", DAY_BEFORE)).current


def test_names_are_newest_first(memory_path: Path) -> None:
    folder = PlanFolder(memory_path)
    days = [DAY, DAY_BEFORE, DAY, date(2026, 11, 24)]
    names = [
        folder.publish(tables(app, day)).name for app, day in zip(["news", "chat", "charts", "news"], days, strict=True)
    ]
    for second, name in enumerate(names):
        os.utime(folder.path / f"{name}.plan", (1e9 + second, 1e9 + second))
    assert folder.names() == [names[3], names[2], names[0], names[1]]
    (folder.path / "2026-11-25-mine.plan").write_text("not one of these")
    assert len(folder.names()) == 4


def test_the_plan_of_a_day_is_its_last_that_can_be_read(memory_path: Path) -> None:
    folder = PlanFolder(memory_path)
    assert folder.of_day(DAY) is None
    names = [
        folder.publish(tables(app, day)).name for app, day in (("news", DAY), ("chat", DAY), ("charts", DAY_BEFORE))
    ]
    for second, name in enumerate(names):
        os.utime(folder.path / f"{name}.plan", (1e9 + second, 1e9 + second))
    found = [folder.of_day(day) for day in (DAY, DAY_BEFORE, date(2026, 11, 24))]
    assert [plan and plan.name for plan in found] == [names[1], names[2], None]
    put(folder.path / f"{names[1]}.plan", b"")
    left = folder.of_day(DAY)
    assert left is not None and left.name == names[0]


def test_a_rollback_is_by_name_and_refuses_what_is_missing_or_damaged(folder: PlanFolder) -> None:
    first = folder.current().name
    second = folder.publish(tables("charts")).name
    folder.use(first)
    assert answer(folder) == "news"
    with pytest.raises(UserError, match=r"there is no plan '\.\./other' in"):
        folder.use("../other")
    path = folder.path / f"{second}.plan"
    content = path.read_bytes()
    put(path, content[:500] + b"\xff" + content[501:])
    with pytest.raises(UnusablePlan, match=f"{path} is"):
        folder.use(second)
    assert folder.current_name() == first
    assert answer(folder) == "news"


def test_a_current_plan_that_is_damaged_or_gone_is_refused_and_another_can_be_chosen(folder: PlanFolder) -> None:
    first = folder.current().name
    path = folder.path / f"{folder.publish(tables('charts')).name}.plan"
    put(path, path.read_bytes()[:-1])
    with pytest.raises(UnusablePlan, match=f"{path} is cut short"):
        PlanFolder(folder.path).current()
    path.unlink()
    with pytest.raises(UnusablePlan, match=f"{path} is not there"):
        PlanFolder(folder.path).current()
    folder.use(first)
    assert answer(PlanFolder(folder.path)) == "news"


@pytest.mark.parametrize("content", ["", "2026-11-23", "../../etc/passwd\n", "\x00" * 30])
def test_a_damaged_pointer_is_refused_and_the_next_plan_mends_it(content: str, folder: PlanFolder) -> None:
    (folder.path / "CURRENT").write_text(content)
    with pytest.raises(UserError, match="CURRENT is damaged, it names no plan: choose one"):
        folder.current()
    folder.publish(tables("charts"))
    assert answer(folder) == "charts"


@pytest.mark.parametrize("content", [None, "", "2026-11-23"], ids=["lost", "empty", "cut short"])
def test_where_the_pointer_is_no_more_an_older_day_does_not_answer(content: str | None, folder: PlanFolder) -> None:
    name = folder.current_name()
    assert name is not None
    pointer = folder.path / "CURRENT"
    pointer.unlink()
    if content is not None:
        pointer.write_text(content)
    assert not folder.publish(tables("charts", DAY_BEFORE)).current
    with pytest.raises(NoPlan, match=r"CURRENT.* is .*: choose one \(usage-analytics plans use NAME\)"):
        folder.current()
    folder.use(name)
    assert answer(folder) == "news"
    pointer.unlink()
    assert folder.publish(tables("chat")).current


def test_a_plan_that_goes_while_the_folder_is_listed_is_left_out(folder: PlanFolder) -> None:
    names = folder.names()
    for name in ("2026-11-24-0123456789ab.plan", ".x.plan.1.inprogress"):
        (folder.path / name).symlink_to("gone")  # listed, but nothing is there
    assert folder.names() == names
    assert folder.prune(days=1) == []


def test_a_plan_is_for_reading_only(folder: PlanFolder) -> None:
    [plan] = folder.path.glob("*.plan")
    as_usual = (folder.path / "CURRENT").stat().st_mode
    assert plan.stat().st_mode == as_usual & ~0o222


def test_a_disk_that_is_full_names_the_pointer(folder: PlanFolder) -> None:
    name = folder.current().name
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="/CURRENT"):
            folder.use(name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert answer(folder) == "news"


def test_pruning_keeps_the_last_ones_of_each_of_the_newest_days(memory_path: Path) -> None:
    folder = PlanFolder(memory_path)
    apps = ("news", "charts", "chat", "quotes", "blotter")
    made = [(day, app) for day in (date(2026, 11, 19), DAY_BEFORE) for app in apps[:1]] + [(DAY, app) for app in apps]
    names = [folder.publish(tables(app, day)).name for day, app in made]
    for second, name in enumerate(names):
        os.utime(folder.path / f"{name}.plan", (1e9 + second, 1e9 + second))
    assert sorted(folder.prune(days=3)) == sorted(names[2:4])
    assert folder.prune(days=2, of_each=2) == [names[4], names[0]]
    assert folder.names() == [names[6], names[5], names[1]]


def test_pruning_keeps_the_last_and_the_one_that_answers(memory_path: Path) -> None:
    folder = PlanFolder(memory_path)
    names = [folder.publish(tables(app)).name for app in ("news", "charts", "chat", "quotes")]
    for second, name in enumerate(names):
        os.utime(folder.path / f"{name}.plan", (1e9 + second, 1e9 + second))
    folder.use(names[0])
    opened = folder.current()
    abandoned, young = folder.path / ".x.plan.1.inprogress", folder.path / ".x.plan.2.inprogress"
    for path, modified in ((abandoned, 1e9), (young, None)):
        path.write_bytes(b"half a plan")
        if modified:
            os.utime(path, (modified, modified))
    assert folder.prune(days=1, of_each=2) == [names[1]]
    assert sorted(folder.names()) == sorted([names[0], names[2], names[3]])
    assert (abandoned.exists(), young.exists()) == (False, True)
    assert folder.prune(days=0) == [names[3], names[2]]
    assert opened.next(None, ()).items
    assert answer(PlanFolder(folder.path)) == "news"
    for days, of_each in ((-1, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"at least 1, not {days} and {of_each}"):
            folder.prune(days, of_each)


def test_tables_that_are_no_plan_are_not_published(folder: PlanFolder) -> None:
    before = sorted(folder.path.iterdir())
    with pytest.raises(ValueError, match="transitions holds a negative number"):
        folder.publish(replace(tables("charts"), transitions=-tables("charts").transitions))
    assert sorted(folder.path.iterdir()) == before
    assert answer(folder) == "news"


CRASHES = [
    Point(step, number, when)
    for step, numbers in {"wait for the disk": (1, 2, 3, 4), "file put in place": (1, 2)}.items()
    for number in numbers
    for when in ("before", "after")
]


@pytest.mark.parametrize("point", CRASHES, ids=str)
def test_a_crash_at_any_step_of_publishing_leaves_one_whole_plan(point: Point, folder: PlanFolder) -> None:
    with killed_at(point, folder.path.parent):
        folder.publish(tables("charts"))
    after = PlanFolder(folder.path)
    swapped = point == Point("file put in place", 2, "after") or (point.step, point.number) == ("wait for the disk", 4)
    assert answer(after) == ("charts" if swapped else "news")
    for name in after.names():
        after.open(name)
    after.publish(tables("chat"))
    assert answer(after) == "chat"


def test_every_step_of_publishing_is_one_at_which_it_was_tried_to_crash(
    folder: PlanFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = {"fsync": 0, "replace": 0}

    def counted(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            done[name] += 1
            return original(*arguments)

        return call

    for name in done:
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    folder.publish(tables("charts"))
    assert done == {"fsync": 4, "replace": 2}


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_step_that_fails_is_told_and_leaves_the_old_plan(
    failing: str, number: int, folder: PlanFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = getattr(os, failing), 0

    def fails(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(os, failing, fails)
    with pytest.raises(OSError, match="No space left on device"):
        folder.publish(tables("charts"))
    assert answer(PlanFolder(folder.path)) == "news"
    assert not list(folder.path.glob(".*"))


ENDLESS = """
import sys
from pathlib import Path
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics_tests.serving.test_plan_folder import tables
folder = PlanFolder(Path(sys.argv[1]))
plans = [tables(app) for app in ("charts", "chat", "quotes")]
print("ready", flush=True)
while True:
    for plan in plans:
        folder.publish(plan)
        folder.prune(1, 1)
"""


def test_readers_always_get_a_whole_plan_while_a_writer_swaps_prunes_and_is_killed(folder: PlanFolder) -> None:
    for round_ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS, str(folder.path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = {answer(folder) for _ in range(2_000 + 500 * round_)}
        seen |= {answer(PlanFolder(folder.path)) for _ in range(30)}
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert seen <= {"news", "charts", "chat", "quotes"}
        assert answer(folder) == answer(PlanFolder(folder.path))
    folder.publish(tables("news"))  # the lock of the killed ones holds nobody up
    assert answer(folder) == "news"


def test_writers_at_once_leave_whole_plans_and_one_that_answers(folder: PlanFolder) -> None:
    apps = ["charts", "chat", "quotes", "blotter"]
    writers = [threading.Thread(target=PlanFolder(folder.path).publish, args=[tables(app)]) for app in apps]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert answer(folder) in apps
    assert len(folder.names()) == 5
    for name in folder.names():
        folder.open(name)


def test_a_plan_that_did_not_change_is_not_opened_again(folder: PlanFolder) -> None:
    first = folder.current()
    assert folder.current() is first
    folder.publish(tables("charts"))
    second = folder.current()
    assert second is not first
    assert first.next(None, ()).items[0].mini_app == "news"


def test_a_live_plan_follows_swaps_and_goes_on_when_one_fails(folder: PlanFolder) -> None:
    live = LivePlan(folder)
    assert (live.plan, live.trouble) == (None, None)
    seen = []
    for app in ("charts", "chat"):
        folder.publish(tables(app))
        live.refresh()
        assert live.plan is not None
        seen.append(live.plan)
        assert live.plan.next(None, ()).items[0].mini_app == app
    assert all(before is not after for before, after in pairwise(seen))
    path = folder.path / f"{folder.publish(tables('quotes')).name}.plan"
    content = path.read_bytes()
    put(path, content[:-3])
    live.refresh()
    assert live.plan is seen[-1]
    assert live.trouble is not None
    assert f"{path} is cut short" in live.trouble
    put(path, content)
    live.refresh()
    assert (live.plan.name, live.trouble) == (path.stem, None)


def test_a_live_plan_waits_for_the_first_one(memory_path: Path) -> None:
    folder = PlanFolder(memory_path)
    live = LivePlan(folder)
    live.refresh()
    assert live.plan is None
    assert live.trouble is not None
    assert "materialize preload_plan first" in live.trouble
    folder.publish(tables("news"))
    live.refresh()
    assert live.plan is not None
