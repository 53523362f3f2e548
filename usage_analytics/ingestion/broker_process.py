"""Runs a Kafka-protocol broker as a process of this machine: a free port, the start, its first answer."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from usage_analytics.errors import UserError

HOST = "127.0.0.1"
START_DEADLINE_S = 30.0
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
