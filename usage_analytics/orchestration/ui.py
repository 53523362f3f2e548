"""Serves the Dagster UI and its daemon on a home folder, as long as this process lives."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import IO

from usage_analytics.errors import UserError
from usage_analytics.ingestion.broker_process import HOST, is_free
from usage_analytics.locks import alone_in
from usage_analytics.orchestration.instance import dagster_home

END_DEADLINE_S = 60.0
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# dagster dev ends its web server, daemon and code servers in good order when interrupted. Its standard input tells it
# when: that ends with us, however we end. A shell that starts us in the background ignores SIGINT; Dagster must not.
_DAGSTER_DEV = """
import os, signal, sys, threading
def interrupt_at_the_end():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt_at_the_end, daemon=True).start()
from dagster._cli import main
main()
"""


def serve_ui(home: Path, port: int) -> None:
    """Run the Dagster UI and daemon on a home folder until interrupted. UserError: port taken, UI already there."""
    address = f"http://{HOST}:{port}"
    with alone_in(home, f"the Dagster UI on {address} (process {os.getpid()})") as lock:
        if not is_free(port):  # Dagster would go on without a page
            other = port % 65_535 + 1
            choice = f"choose another, such as --port {other}, or make ui PORT={other}"
            raise UserError(f"port {port} on {HOST} is taken, or not allowed; {choice}")
        process = _start(home, port, lock)
        for number in ENDINGS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, _interrupt)
        print(f"Dagster UI on {address} (Ctrl-C ends it)", flush=True)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _end(process)
            return
    raise UserError(f"the Dagster UI ended by itself, with exit code {code}: see its last lines above")


def _start(home: Path, port: int, lock: IO[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DAGSTER_HOME": str(dagster_home(home)), "USAGE_ANALYTICS_HOME": str(home)}
    arguments = ["dev", "-m", "usage_analytics.definitions", "-h", HOST, "-p", str(port)]
    return subprocess.Popen(
        [sys.executable, "-c", _DAGSTER_DEV, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: each of its processes would answer with a trace
        pass_fds=[lock.fileno()],  # should we be killed, the folder is taken until Dagster's processes have ended
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    print("Ending the Dagster UI and its daemon", flush=True)
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
