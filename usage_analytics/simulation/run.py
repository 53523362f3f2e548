"""Runs a simulation: its lanes in one or more processes, into Kafka or files, with the truth beside it."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from usage_analytics.errors import UserError
from usage_analytics.simulation.labels import LaneTruth, Totals
from usage_analytics.simulation.lanes import Batch, Lane
from usage_analytics.simulation.market_day import MINUTE_US, SLICE_MINUTES, market_day
from usage_analytics.simulation.pacing import Pace
from usage_analytics.simulation.population import Population, population
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import Target
from usage_analytics.simulation.truth import write_day, write_world
from usage_analytics.simulation.truth_folder import note_beginning, note_end, owned

ENDED = 2**40  # minutes
LOOK_EVERY_S = 0.5
END_DEADLINE_S = 5.0
IN_STEP_MINUTES = 3 * SLICE_MINUTES  # of simulated time, by which one process may be ahead of the slowest


@dataclass(frozen=True)
class Standing:
    """How far a running simulation is."""

    sent: int
    arrival_us: int  # simulated time


# Called twice a second: how many more messages may be sent before the next call; an exception ends the simulation.
Watch = Callable[[Standing], float]
UNLIMITED = float("inf")


def simulate(
    scenario: Scenario, target: Target, truth: Path | None, *, speed: float = float("inf"), processes: int = 1,
    watch: Watch = lambda standing: UNLIMITED,
) -> Totals:  # fmt: skip
    """Send all messages of a scenario; what was sent. With a folder, the truth is written there.

    The messages of a lane are the same, byte for byte, whatever the number of processes.
    """
    if truth is None:
        return _send(scenario, target, None, speed, processes, watch)
    with owned(truth, scenario):
        _write_plans(truth, population(scenario))
        note_beginning(truth, scenario.days, target.place)
        totals = _send(scenario, target, truth, speed, processes, watch)
        note_end(truth, scenario.days)
    return totals


def _send(scenario: Scenario, target: Target, truth: Path | None, speed: float, processes: int, watch: Watch) -> Totals:
    processes = min(processes, scenario.lanes)
    shares = [list(range(number, scenario.lanes, processes)) for number in range(processes)]
    context = multiprocessing.get_context("spawn")
    board = _Board(context, scenario, processes)
    children: dict[Connection, Any] = {}
    try:
        for number, lanes in enumerate(shares):
            answer, mine = context.Pipe(duplex=False)
            arguments = (scenario, lanes, number, target, truth, speed, board, mine)
            process = context.Process(target=_work, args=arguments, name=f"lanes {lanes}", daemon=True)
            process.start()
            mine.close()
            children[answer] = process
        return _collect(children, board, watch)
    finally:
        for process in children.values():
            process.terminate()
        for process in children.values():
            process.join(END_DEADLINE_S)
            if process.is_alive():
                process.kill()
                process.join()


class _Board:
    """What the processes tell each other, in shared memory."""

    def __init__(self, context: Any, scenario: Scenario, processes: int) -> None:
        first_minute = market_day(scenario, min(scenario.days)).slices[0]
        self.sent = context.Array("q", scenario.lanes, lock=False)
        self.minute = context.Array("q", [first_minute] * processes, lock=False)
        self.allowed = context.Value("d", 0.0, lock=False)

    def standing(self) -> Standing:
        return Standing(sum(self.sent), min(self.minute) * MINUTE_US)

    def ask(self, watch: Watch) -> None:
        """Let the watch say how many messages may have been sent until it is asked again."""
        standing = self.standing()
        self.allowed.value = standing.sent + watch(standing)

    def wait_for_others(self, process: int, minute: int) -> None:
        """Wait while this process is ahead of the others."""
        self.minute[process] = minute
        while minute > min(self.minute) + IN_STEP_MINUTES:
            time.sleep(0.01)

    def wait_for_leave(self) -> None:
        """Wait until more may be sent."""
        while sum(self.sent) >= self.allowed.value:
            time.sleep(0.01)


def _write_plans(truth: Path, everyone: Population) -> None:
    write_world(truth, everyone)
    for day in everyone.scenario.days:
        write_day(truth, everyone, market_day(everyone.scenario, day))


def _collect(children: dict[Connection, Any], board: _Board, watch: Watch) -> Totals:
    totals, left = Totals(), dict(children)
    board.ask(watch)
    while left:
        for answer in wait(list(left), timeout=LOOK_EVERY_S):
            assert isinstance(answer, Connection)
            totals += _answer(answer, left.pop(answer))
        board.ask(watch)
    return totals


def _answer(connection: Connection, process: Any) -> Totals:
    try:
        answer = connection.recv()
    except EOFError:
        process.join()
        why = f"ended with exit code {process.exitcode}" + (", by lack of memory?" if process.exitcode == -9 else "")
        raise UserError(f"simulation: the process of {process.name} {why}") from None
    if isinstance(answer, str):
        raise UserError(answer)
    assert isinstance(answer, Totals)
    return answer


def _work(
    scenario: Scenario, lanes: list[int], number: int, target: Target, truth: Path | None, speed: float, board: _Board,
    answer: Connection,
) -> None:  # fmt: skip
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by this, which it may itself ignore
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer.send(_run_lanes(scenario, lanes, number, target, truth, Pace(speed), board))
    except UserError as error:
        answer.send(str(error))
    except OSError as error:
        answer.send(f"simulation: {error.filename or target.place}: {error.strerror or error}")


def _end_with_parent() -> None:
    # However the parent ends: without it nobody looks after what Kafka keeps.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_lanes(
    scenario: Scenario, lanes: list[int], number: int, target: Target, truth: Path | None, pace: Pace, board: _Board
) -> Totals:
    everyone = population(scenario)
    sink, notes = target.open(lanes), {lane: LaneTruth(truth, lane) for lane in lanes}
    streams = (_numbered(Lane(scenario, lane, everyone)) for lane in lanes)
    in_order = merge(*streams, key=lambda numbered: numbered[1].first_minute)
    for first_minute, together in groupby(in_order, key=lambda numbered: numbered[1].first_minute):
        batches = list(together)
        board.wait_for_others(number, first_minute)
        for lane, messages in pace.due(batches):
            board.wait_for_leave()
            sink.write(lane, messages)
            board.sent[lane] += len(messages.values)
            notes[lane].totals.bytes += messages.bytes
        for lane, batch in batches:
            notes[lane].add(batch)
    board.minute[number] = ENDED
    sink.close()
    for note in notes.values():
        note.close()
    return sum((note.totals for note in notes.values()), Totals())


def _numbered(lane: Lane) -> Iterator[tuple[int, Batch]]:
    return ((lane.number, batch) for batch in lane.batches())
