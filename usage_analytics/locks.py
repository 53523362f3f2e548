"""Locks between processes of this machine: files that the kernel unlocks when their holder ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from usage_analytics.errors import UserError

HOME_LOCK = "in_use.lock"
LOOK_EVERY_S = 0.1


class StillTaken(Exception):
    """Another process has had a lock for as long as was waited; says which one."""


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock, waiting for whoever has it."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def one_within(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock, waiting so long for whoever has it; `StillTaken` by then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with path.open("a+") as lock:
        while not taken(lock):
            if time.monotonic() > deadline:
                lock.seek(0)
                raise StillTaken(lock.read().strip() or "another process")
            time.sleep(LOOK_EVERY_S)
        lock.truncate(0)
        print(f"process {os.getpid()}", file=lock, flush=True)
        yield


def taken(lock: IO[str]) -> bool:
    """Take the lock, which is ours until its file is closed; False, at once, if another process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def alone_in(home: Path, me: str) -> Iterator[IO[str]]:
    """A home folder, made if need be, for me alone among those who ask so; the lock's file, open.

    UserError, naming the holder: it is taken.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / HOME_LOCK).open("a+") as lock:
        if not taken(lock):
            lock.seek(0)
            raise UserError(f"{lock.read().strip() or 'another process'} is at work in {home}")
        lock.truncate(0)
        print(me, file=lock, flush=True)
        yield lock
