"""Waits for the embedded warehouse's file while another process has it, and says so where that takes long."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import duckdb
from sqlalchemy.exc import DBAPIError

from usage_analytics.warehouse.protocol import WarehouseInUse

IN_USE = "Could not set lock"
TOLD_AFTER_S, LOOK_EVERY_S = 2.0, 0.1

Opened = TypeVar("Opened")


def once_free(path: Path, wait_s: float, connect: Callable[[], Opened]) -> Opened:
    """What ``connect`` gives as soon as no other process has the file; `WarehouseInUse` after ``wait_s``.

    After two seconds, a line on standard error names the process that is waited for.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            return connect()
        except (duckdb.Error, DBAPIError) as error:
            why = str(error.orig if isinstance(error, DBAPIError) else error)
            if IN_USE not in why:
                raise
        waited = time.monotonic() - began
        if waited > wait_s:
            raise WarehouseInUse(f"warehouse {path} has been in use for {wait_s:g} s: {why}")
        if waited > TOLD_AFTER_S and not told:
            told = True
            most = f"{wait_s:g} s at most"
            print(f"waiting for warehouse {path}, held by {_holder(why)} ({most})", file=sys.stderr, flush=True)
        time.sleep(LOOK_EVERY_S)


def _holder(why: str) -> str:
    named = re.search(r"PID (\d+)", why)
    return f"process {named[1]}" if named else "another process"
