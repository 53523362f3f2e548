"""Lands waiting messages as raw chunks, exactly once."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TypeVar

from usage_analytics.ingestion.chunk_landing import Lander, Limits, Worker
from usage_analytics.ingestion.newer_windows import refuse_newer
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetConflict, OffsetLog
from usage_analytics.ingestion.planning import LeftAlone, Ranges, plan_what_agrees, remember_beginnings
from usage_analytics.ingestion.sweeping import sweep
from usage_analytics.ingestion.verification import verify_chunks
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import Window

GRACE = timedelta(minutes=15)  # a run that was queued just before its window ended still cuts into it
HEED_EVERY_S = 0.5
LOGGER = logging.getLogger(__name__)
Load = TypeVar("Load")


Hire = Callable[[], AbstractContextManager[Worker]]


@dataclass(frozen=True)
class LandingReport:
    """What a run did to a window."""

    landed: list[ChunkRecord] = field(default_factory=list)
    repaired: list[ChunkRecord] = field(default_factory=list)
    verified: int = 0
    refusals: list[str] = field(default_factory=list)  # why single Kafka partitions were left alone

    @property
    def messages(self) -> int:
        return sum(record.rows for record in self.landed)


def land(hire: Hire, log: OffsetLog, layout: Layout, window: Window, limits: Limits, now: datetime) -> LandingReport:
    """Bring a window up to date: the open one takes waiting messages, an older one is verified and repaired.

    ``hire`` opens a worker; as many are hired as there is work for, at most ``limits.threads``. Raises `UserError`
    where Kafka and the lake disagree as a whole (topic recreated); chunks committed before that stay. Where Kafka
    deleted unread messages of some Kafka partitions, cannot deliver some, or no longer has what was landed last, all
    that is before that and the others land, and the report says so. Where one worker fails, the others finish what is
    theirs first.
    """
    with ExitStack() as hired:
        first = hired.enter_context(hire())
        if has_ended(window, now):
            records = log.of_window(window.key)
            loads = [records[number :: limits.threads] for number in range(limits.threads)]

            def verify(worker: Worker, load: list[ChunkRecord], stop: threading.Event) -> list[ChunkRecord]:
                until_stopped = takewhile(lambda _: not stop.is_set(), load)
                return verify_chunks(worker.source, layout, until_stopped, limits.batch_messages)

            repaired = _in_threads(verify, first, hire, hired, [load for load in loads if load])
            sweep(log, layout, window.key)
            return LandingReport(repaired=repaired, verified=len(records))
        if now < window.end:
            refuse_newer(log, window.key)
        topic_id = first.source.topic_id()
        remember_beginnings(first.source, log, topic_id)
        planned = plan_what_agrees(first.source, log, limits.messages_per_run)
        until = time.monotonic() + limits.longest_s

        left_alone: dict[int, str] = {}

        def take(worker: Worker, load: Ranges, stop: threading.Event) -> list[ChunkRecord]:
            lander = Lander(worker, log, layout, window.key, limits, topic_id, stop, until)
            return _land_ranges(lander, load, left_alone)

        landed = _in_threads(take, first, hire, hired, _assigned(planned.ranges, limits.threads))
        sweep(log, layout, window.key)
        found_out = [left_alone[kafka_partition] for kafka_partition in sorted(left_alone)]
        return LandingReport(landed=landed, refusals=planned.refusals + found_out)


def has_ended(window: Window, now: datetime) -> bool:
    """Whether a window takes no more messages: it is verified and repaired instead."""
    return now >= window.end + GRACE


def ended_from(window: Window) -> str:
    """In words, the time from which on it is so."""
    return f"{(window.end + GRACE).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _assigned(ranges: Ranges, workers: int) -> list[Ranges]:
    """The ranges in at most so many loads of about the same size, none of them empty."""
    loads: list[Ranges] = [{} for _ in range(min(workers, len(ranges)))]
    for kafka_partition, (start, end) in sorted(ranges.items(), key=lambda item: item[1][0] - item[1][1]):
        smallest = min(loads, key=lambda load: sum(end - start for start, end in load.values()))
        smallest[kafka_partition] = (start, end)
    return loads


def _in_threads(
    work: Callable[[Worker, Load, threading.Event], list[ChunkRecord]], first: Worker, hire: Hire, hired: ExitStack,
    loads: Sequence[Load],
) -> list[ChunkRecord]:  # fmt: skip
    # Most of the work is done by libraries that let go of Python's interpreter.
    if not loads:
        return []
    workers = [first, *(hired.enter_context(hire()) for _ in loads[1:])]
    stop, pool = threading.Event(), ThreadPoolExecutor(len(workers), thread_name_prefix="landing")
    try:
        running = [pool.submit(work, worker, load, stop) for worker, load in zip(workers, loads, strict=True)]
        while wait(running, HEED_EVERY_S).not_done:
            pass  # a signal that came just before a wait began would otherwise be heeded only after it
    except BaseException:
        stop.set()
        raise
    finally:
        _join(pool)  # while a thread still reads, its connection must not be closed
    failed = [done for done in running if done.exception() is not None]
    for done in failed[1:]:
        LOGGER.error("another thread failed too: %s", done.exception())
    return [record for done in [*failed[:1], *running] for record in done.result()]


def _join(pool: ThreadPoolExecutor) -> None:
    while True:
        try:
            pool.shutdown(wait=True)
        except KeyboardInterrupt:  # again; the threads end by themselves after their batch
            continue
        return


def _land_ranges(lander: Lander, ranges: Ranges, left_alone: dict[int, str]) -> list[ChunkRecord]:
    landed: list[ChunkRecord] = []
    for kafka_partition, (start, end) in ranges.items():
        try:
            for record in lander.land(kafka_partition, start, end):
                landed.append(record)
        except OffsetConflict:
            continue  # another run is landing this Kafka partition; what it leaves, the next run takes
        except LeftAlone as refusal:  # one that is broken must not keep the others waiting
            left_alone[kafka_partition] = str(refusal)
        if lander.is_late():
            break
    return landed
