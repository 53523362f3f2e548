"""What the preload plan's HTTP endpoint takes for an answer, at a steady rate of requests on the loopback.

A plan of the given size is made up, published into a temporary folder and served by one process of
`usage-analytics serve`, which may be bound to one core. Requests leave at their times whether or not earlier ones were
answered, and each latency counts from the time at which its request was due: a server that stalls cannot hide it. Three
requests in four name a user that the plan knows, and each an entity that it knows; contexts are of the last three
mini-apps.
"""

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from plan_tables import Size, entity_names, made_up_tables

from usage_analytics.serving.plan.tables import PlanTables
from usage_analytics.serving.plan_folder import PlanFolder

CONNECTIONS = 64
WARM_UP_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2_000, help="requests a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long (default: %(default)s)")
    parser.add_argument("--contexts", type=int, default=30_000, help="of the plan (default: %(default)s)")
    parser.add_argument("--users", type=int, default=200_000, help="of the plan (default: %(default)s)")
    chosen = parser.parse_args()
    tables = made_up_tables(Size(contexts=chosen.contexts, users=chosen.users))
    with tempfile.TemporaryDirectory() as home:
        PlanFolder(Path(home) / "preload_plans").publish(tables)
        with served(Path(home)) as (server, port):
            paths = requests_of(tables, entity_names(Size.entities), 10_000)
            asyncio.run(load(port, paths, chosen.rate, WARM_UP_S))
            before = cpu_s(server)
            found = asyncio.run(load(port, paths, chosen.rate, chosen.seconds))
            print_latencies(found, chosen.rate, cpu_s(server) - before)


@dataclass
class Found:
    """Latencies in seconds, how many answers had which status, and how late requests left at most."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


class Connection(asyncio.Protocol):
    """One connection that is kept open, one request on it at a time."""

    def __init__(self, found: Found, free: "deque[Connection]") -> None:
        self._found, self._free = found, free
        self._received = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._free.append(self)

    def ask(self, path: str, due: float) -> None:
        self._due = due
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank or len(body) < _content_length(head):
            return
        self._found.latencies.append(time.perf_counter() - self._due)
        self._found.statuses[int(head[9:12])] += 1
        self._received = b""
        self._free.append(self)


async def load(port: int, paths: list[str], rate: int, seconds: float) -> Found:
    """Ask at a steady rate; every request is waited for."""
    found, free = Found(), deque[Connection]()
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Connection(found, free), "127.0.0.1", port)
    begin, asked, count = time.perf_counter(), 0, int(rate * seconds)
    while len(found.latencies) < count:
        now = time.perf_counter()
        while asked < count and begin + asked / rate <= now and free:
            free.popleft().ask(paths[asked % len(paths)], begin + asked / rate)
            asked += 1
        if now > begin + seconds + 60:
            raise TimeoutError(f"{count - len(found.latencies)} requests were not answered within a minute")
        await asyncio.sleep(0.0002)
    found.seconds = time.perf_counter() - begin
    for connection in free:
        connection.transport.close()
    return found


def requests_of(tables: PlanTables, entities: list[str], count: int) -> list[str]:
    """Paths that ask for made-up contexts and entities, three in four of them for a user that the plan knows."""
    drawn = random.Random(1)
    paths = []
    for number in range(count):
        asked = [("context", drawn.choice(tables.mini_apps)) for _ in range(3)]
        asked.append(("entity", drawn.choice(entities)))
        if number % 4:
            asked.append(("user", f"{int(drawn.choice(tables.user_keys)):016x}{0:016x}"))
        paths.append(f"/next?{urlencode(asked)}")
    return paths


@contextmanager
def served(home: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A process that serves the plans of a home folder, and its port; on the last core, if there are several."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "USAGE_ANALYTICS_HOME": str(home)}
    command = [sys.executable, "-m", "usage_analytics.cli", "serve", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(server.pid, {cores[-1]})
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[:-1]))
    try:
        wait_until_healthy(server, port)
        yield server, port
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_until_healthy(server: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with code {server.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server did not become healthy within half a minute")


def cpu_s(server: "subprocess.Popen[bytes]") -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_latencies(found: Found, rate: int, server_cpu_s: float) -> None:
    p50, p99, p999, worst = np.percentile(np.array(found.latencies) * 1e3, [50, 99, 99.9, 100])
    answered = len(found.latencies)
    print(f"{answered:,} requests at {rate:,} a second, answered in {found.seconds:.1f} s: {dict(found.statuses)}")
    print(f"latency, ms: p50 {p50:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f}, most {worst:.2f}")
    print(f"CPU of the server: {server_cpu_s / answered * 1e6:.0f} microseconds a request")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


if __name__ == "__main__":
    main()
