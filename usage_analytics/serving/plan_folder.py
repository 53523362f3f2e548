"""A folder of preload plans, one of which answers: published whole or not at all, swapped at once, rolled back by name.

<trading day>-<start of its seal>.plan    a plan, never changed in place: who has it open would read what is written
CURRENT                                   the name of the one that answers

A reader that has a plan open keeps it, whatever happens to the folder. Writers take turns, by a lock.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.lake.files import IN_PROGRESS, make_folder, naming, publish, remove, temporary_beside
from usage_analytics.locks import one_at_a_time
from usage_analytics.serving.plan.file import UnusablePlan, read_plan, write_plan
from usage_analytics.serving.plan.tables import PlanTables
from usage_analytics.serving.preload_plan import PreloadPlan

CURRENT, LOCK, SUFFIX = "CURRENT", "plans.lock", ".plan"
NAME = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{12}")
SEAL_DIGITS = 12
OF_EACH_DAY = 3  # plans that are kept: the last one, and those that it can be rolled back to
WRITABLE = 0o222
CHOOSE = "choose one (usage-analytics plans use NAME)"
ABANDONED_S = 24 * 3600  # nobody writes a plan for so long: whoever did has crashed

Signature = tuple[int, int, int]


class NoPlan(UserError):
    """There is no plan that answers."""


@dataclass(frozen=True)
class Published:
    """A plan that is in the folder now; ``current``: it answers from now on."""

    name: str
    current: bool


class PlanFolder:
    """The plans of one folder, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: tuple[Signature, PreloadPlan] | None = None

    def publish(self, tables: PlanTables) -> Published:
        """Add a plan, and let it answer, unless the one that answers is of a later trading day (of a backfill).

        Where it cannot be known which one answers, none in the folder may be of a later one.
        A crash at any point leaves the plan that answered before.
        """
        day = tables.facts.trading_day.isoformat()
        temporary = temporary_beside(self.path / f"{day}{SUFFIX}")
        try:
            name = f"{day}-{write_plan(tables, temporary)[:SEAL_DIGITS]}"
            read_plan(temporary)  # what the disk did to it is told now, not to those who ask
            temporary.chmod(temporary.stat().st_mode & ~WRITABLE)
            with self._alone():
                publish(temporary, self._file(name))
                newest = (self.current_name() or self.names()[0])[: len(day)] <= day
                if newest:
                    self._swap(name)
        finally:
            temporary.unlink(missing_ok=True)
        return Published(name, newest)

    def current(self) -> PreloadPlan:
        """The plan that answers now; a look at CURRENT is all it costs while that stays the same.

        `NoPlan` before the first one; `UnusablePlan` where CURRENT names a damaged one, or one that is gone.
        """
        opened = self._open
        if opened is not None and opened[0] == self._signature():
            return opened[1]
        while True:
            signature, name = self._read_current()
            try:
                plan = PreloadPlan.open(self._file(name))
            except UnusablePlan:
                if self._signature() == signature:
                    raise
                continue  # since its name was read, another took its place, and it was pruned
            self._open = signature, plan
            return plan

    def current_name(self) -> str | None:
        """Name of the plan that answers; None before the first one, and where CURRENT is lost or damaged."""
        try:
            return self._read_current()[1]
        except NoPlan:
            return None

    def names(self) -> list[str]:
        """All plans, newest trading day first, and of one day the one that was published last."""
        found = [path for path in self.path.glob(f"*{SUFFIX}") if NAME.fullmatch(path.stem)]
        modified = {path.stem: _modified_ns(path) for path in found}
        there = [(_day(name), when, name) for name, when in modified.items() if when is not None]
        return [name for _, _, name in sorted(there, reverse=True)]

    def open(self, name: str) -> PreloadPlan:
        """One of the plans; `UnusablePlan` as for any file of a plan, `UserError` where there is none of that name."""
        if name not in self.names():
            raise UserError(f"there is no plan {name!r} in {self.path} (usage-analytics plans lists those there are)")
        return PreloadPlan.open(self._file(name))

    def of_day(self, trading_day: date) -> PreloadPlan | None:
        """The plan of a trading day that was published last, of those that can be read; None where there is none."""
        for name in self.names():
            if name.startswith(trading_day.isoformat()):
                try:
                    return self.open(name)
                except UserError:
                    continue
        return None

    def use(self, name: str) -> PreloadPlan:
        """Let a plan answer from now on; where it is missing or damaged, a `UserError`, and nothing changes."""
        with self._alone():
            plan = self.open(name)
            self._swap(name)
        return plan

    def prune(self, days: int, of_each: int = OF_EACH_DAY) -> list[str]:
        """Keep, of each of the newest trading days, the plans published last, and the one that answers; remove others.

        days: that there are plans of; of_each: plans. The names of those removed; open ones stay readable.
        """
        if days < 0 or of_each < 1:
            raise ValueError(f"days must not be negative and of_each at least 1, not {days} and {of_each}")
        with self._alone():
            by_day = [list(plans) for _, plans in groupby(self.names(), _day)]
            kept = {self.current_name(), *(name for plans in by_day[:days] for name in plans[:of_each])}
            old = [name for plans in by_day for name in plans if name not in kept]
            for name in old:
                remove(self._file(name))
            for path in self.path.glob(f".*{IN_PROGRESS}"):
                modified = _modified_ns(path)
                if modified is not None and modified < (time.time() - ABANDONED_S) * 1e9:
                    path.unlink(missing_ok=True)
        return old

    def _file(self, name: str) -> Path:
        return self.path / f"{name}{SUFFIX}"

    def _signature(self) -> Signature | None:
        try:
            return _signature((self.path / CURRENT).stat())
        except FileNotFoundError:
            return None

    def _swap(self, name: str) -> None:
        temporary = temporary_beside(self.path / CURRENT)
        try:
            with naming(self.path / CURRENT):
                temporary.write_text(f"{name}\n", encoding="utf-8")
            publish(temporary, self.path / CURRENT)
        finally:
            temporary.unlink(missing_ok=True)

    def _read_current(self) -> tuple[Signature, str]:
        path = self.path / CURRENT
        try:
            with path.open("rb") as file:
                signature, name = _signature(os.fstat(file.fileno())), file.read(100).decode("ascii", "replace").strip()
        except FileNotFoundError:
            if self.names():
                raise NoPlan(f"{path}, which names the plan that answers, is not there: {CHOOSE}") from None
            raise NoPlan(f"there is no preload plan in {self.path} yet: materialize preload_plan first") from None
        if not NAME.fullmatch(name):
            raise NoPlan(f"{path} is damaged, it names no plan: {CHOOSE}")
        return signature, name

    @contextmanager
    def _alone(self) -> Iterator[None]:
        make_folder(self.path)
        with one_at_a_time(self.path / LOCK):
            yield


def _signature(found: os.stat_result) -> Signature:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _day(name: str) -> str:
    return name[: len("2026-11-23")]


def _modified_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # pruned, or put in its place, since the folder was listed
        return None
