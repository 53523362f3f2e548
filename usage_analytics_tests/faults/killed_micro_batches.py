"""A program of its own: runs the micro_batch job in child processes that end by SIGKILL. `killed_runs` talks to it.

One request is one line of JSON on stdin: the window, the environment, and where the run kills itself or after how long
it is killed, or where it meets another run. One line of JSON on stdout answers: the signal that ended the run, or 0.
Children are forked from this process, which has imported the graph but opened nothing, because importing takes longer
than the run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST_RUN_S = 120


def main() -> None:
    import usage_analytics.orchestration.run_now  # noqa: F401  the graph, once for all children

    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(LONGEST_RUN_S)  # a run that hangs fails its test instead of all of them
            try:
                run(request)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(json.dumps(await_end(child, request.get("after_s"))), flush=True)


def await_end(child: int, after_s: float | None) -> int:
    """The exit status as subprocess gives it: negative for a signal."""
    if after_s is not None:
        ended = os.pidfd_open(child)
        if not select.select([ended], [], [], after_s)[0]:
            os.kill(child, signal.SIGKILL)
        os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(request: dict[str, Any]) -> None:
    os.environ.update(request["environment"])
    if request.get("point"):
        POINTS[request["point"]]()
    if request.get("meeting"):
        meet_at_first_record(Path(request["meeting"]))
    from usage_analytics.orchestration.instance import open_instance
    from usage_analytics.orchestration.run_now import QUIET, defs
    from usage_analytics.settings import load_settings

    with open_instance(load_settings().home) as instance:
        job = defs.resolve_job_def("micro_batch")
        job.execute_in_process(instance=instance, partition_key=request["window"], run_config=QUIET)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def instead(owner: Any, name: str, call: int = 1, when: Callable[..., bool] = lambda *a: True) -> None:
    """Die where the n-th call of a function for which `when` holds would begin."""
    original, calls = getattr(owner, name), [0]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            calls[0] += 1
            if calls[0] == call:
                die()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, call: int = 1) -> None:
    """Die where the n-th call of a function would return."""
    original, calls = getattr(owner, name), [0]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        calls[0] += 1
        if calls[0] == call:
            die()
        return result

    setattr(owner, name, wrapped)


def is_record(path: Path) -> bool:
    """Whether it is an offset record's, by its name: a number."""
    return path.suffix == ".json" and path.stem.isdecimal()


def meet_at_first_record(meeting: Path) -> None:
    """Wait with the first record until the other run stands there too; note each conflict in the folder."""
    from usage_analytics.ingestion.chunk_landing import _OpenChunk
    from usage_analytics.ingestion.offset_log import OffsetConflict

    link, commit, me = os.link, _OpenChunk.commit, meeting / str(os.getpid())

    def link_together(temporary: Any, path: Path) -> None:
        if is_record(path) and not me.with_suffix(".here").exists():
            me.with_suffix(".here").touch()
            while len(list(meeting.glob("*.here"))) < 2:  # until LONGEST_RUN_S
                time.sleep(0.001)
        link(temporary, path)

    def noting_commit(chunk: _OpenChunk, end: int) -> Any:
        try:
            return commit(chunk, end)
        except OffsetConflict as conflict:
            with me.with_suffix(".conflicts").open("a") as noted:
                print(conflict, file=noted)
            raise

    os.link, _OpenChunk.commit = link_together, noting_commit  # type: ignore[assignment, method-assign]


def in_unfinished_chunk_file() -> None:
    from usage_analytics.ingestion.chunk_file import ChunkWriter

    after(ChunkWriter, "write", call=5)


def before_offset_record() -> None:
    from usage_analytics.ingestion.offset_log import OffsetLog

    instead(OffsetLog, "commit", call=2)


def in_offset_record() -> None:
    # Its content is on disk under a temporary name, not yet under its own.
    instead(os, "link", call=2, when=lambda temporary, path: is_record(path))


def after_offset_record() -> None:
    from usage_analytics.ingestion.offset_log import OffsetLog

    after(OffsetLog, "commit", call=2)


def before_events_file() -> None:
    from usage_analytics.enrichment import enriched_chunk

    def is_events(table: Any, path: Path, *_: Any) -> bool:
        return "usage_events" in path.parts

    instead(enriched_chunk, "write_sealed", call=2, when=is_events)


def in_events_file() -> None:
    from usage_analytics.lake import sealed_parquet

    def is_events(temporary: Path, path: Path) -> bool:
        return "usage_events" in path.parts

    instead(sealed_parquet, "publish", call=2, when=is_events)


def before_warehouse_commit() -> None:
    from usage_analytics.warehouse import load_applying

    after(load_applying, "held")


def after_warehouse_commit() -> None:
    from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse

    after(DuckDBWarehouse, "load_window")


POINTS = {
    f.__name__: f
    for f in (
        in_unfinished_chunk_file, before_offset_record, in_offset_record, after_offset_record,
        before_events_file, in_events_file, before_warehouse_commit, after_warehouse_commit,
    )
}  # fmt: skip

if __name__ == "__main__":
    main()
