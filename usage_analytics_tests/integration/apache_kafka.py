"""A real Apache Kafka (KRaft, one node) for tests: what the embedded broker cannot show.

Maven copies the jars pinned in apache_kafka.pom.xml into .usage_analytics_kafka/ once; needs Java 17 and mvn.
"""

from __future__ import annotations

import atexit
import base64
import fcntl
import hashlib
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from usage_analytics.errors import UserError
from usage_analytics.ingestion.broker_process import HOST, await_answer, free_port, last_lines, launch

POM = Path(__file__).with_name("apache_kafka.pom.xml")
CACHE = Path(__file__).resolve().parents[2] / ".usage_analytics_kafka"
STOP_DEADLINE_S = 30.0
# Quick to start rather than fast for hours: tests start many and feed each little.
JAVA_OPTIONS = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",  # a test that misspells its topic should learn of it
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the controller awaits the end of the dead broker's session: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # One node can hold one copy; 50 partitions of each, the default, take long to create.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",  # its default of 128 MB is a quarter of the heap
}

LOG4J2 = """\
status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n
rootLogger.level=info
rootLogger.appenderRef.console.ref=console
"""


class ApacheKafka:
    """One node on free loopback ports; its data outlive `stop`, `kill` and `restart`, not the directory."""

    def __init__(self, directory: Path, jars: Path, port: int, cluster_id: str) -> None:
        self.directory = directory
        self.port = port
        self.cluster_id = cluster_id
        self.log_file = directory / "kafka.log"
        self._jars = jars
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls, directory: Path, settings: Mapping[str, str] | None = None, listeners: Mapping[str, int] | None = None
    ) -> Self:
        """A formatted, answering Kafka; `settings` go over the ones above, server.properties names.

        `listeners` are ports beside the plain one, by their security protocol.

        UserError: no Java or Maven, no jars, or no answer within 30 s (with the last lines of its log).
        """
        jars = kafka_jars()
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        kafka = cls(directory, jars, port, _new_cluster_id())
        controller_port = free_port(taken=(port, *(listeners or {}).values()))
        kafka._configure(controller_port, settings or {}, listeners or {})
        kafka._format()
        kafka._launch()
        atexit.register(kafka.kill)
        return kafka

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process; only while it runs."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """Shut down in order, as an operator would; harmless when stopped already."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """End it without a word, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_DEADLINE_S)
        self._process = None

    def restart(self) -> None:
        """The same data on the same port, after `stop` or `kill`, or stopping first."""
        self.stop()
        self._launch()

    def _configure(self, controller_port: int, settings: Mapping[str, str], listeners: Mapping[str, int]) -> None:
        ports = {"PLAINTEXT": self.port, **listeners}
        open_to_clients = ",".join(f"{protocol}://{HOST}:{port}" for protocol, port in ports.items())
        protocols = ",".join(f"{protocol}:{protocol}" for protocol in ports)
        mine = {
            "listeners": f"{open_to_clients},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": open_to_clients,
            "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "log.dirs": str(self.directory / "data"),
        }
        lines = [f"{name}={value}" for name, value in (SETTINGS | mine | dict(settings)).items()]
        (self.directory / "server.properties").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.directory / "log4j2.properties").write_text(LOG4J2, encoding="utf-8")

    def _format(self) -> None:
        arguments = [
            "format",
            "--cluster-id",
            self.cluster_id,
            "--config",
            str(self.directory / "server.properties"),
        ]
        format_log = self.directory / "format.log"
        with format_log.open("wb") as log:
            command = self._java("kafka.tools.StorageTool", *arguments)
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        if code != 0:
            raise UserError(f"Apache Kafka's storage could not be formatted. {last_lines(format_log)}")

    def _launch(self) -> None:
        command = self._java("kafka.Kafka", str(self.directory / "server.properties"))
        self._process = launch(command, self.directory, self.log_file, dies_with_parent=True)
        try:
            await_answer(self._process, self.bootstrap_servers, self.cluster_id, self.log_file)
        except BaseException:
            self.kill()
            raise

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}"
        return [_tool("java"), *JAVA_OPTIONS, logging, "-cp", f"{self._jars}/*", main_class, *arguments]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        atexit.unregister(self.kill)
        self.stop()


def missing_tools() -> str:
    """What to install before Apache Kafka can run here; empty if nothing."""
    packages = {"java": "openjdk-17-jre-headless", "mvn": "maven"}
    missing = [name for name in packages if shutil.which(name) is None]
    if not missing:
        return ""
    install = " ".join(packages[name] for name in missing)
    return f"Apache Kafka for tests needs {' and '.join(missing)}. On Debian: apt-get install {install}"


def kafka_jars() -> Path:
    """The folder with Kafka's jars, filled by Maven once. UserError: no Java, no Maven, or it failed."""
    if message := missing_tools():
        raise UserError(message)
    jars = CACHE / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once
        if not jars.exists():
            _copy_jars(jars)
    return jars


def _copy_jars(jars: Path) -> None:
    # Copied aside and renamed, so that an interrupted copy is never taken for a whole one.
    aside = jars.with_suffix(".part")
    shutil.rmtree(aside, ignore_errors=True)
    command = [
        _tool("mvn"),
        "-B",
        "-q",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={aside}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not any(aside.glob("kafka_2.13-*.jar")):
        end = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise UserError(f"Maven could not fetch Apache Kafka's jars ({POM.name}):\n{end}")
    aside.rename(jars)


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise UserError(missing_tools())
    return path


def _new_cluster_id() -> str:
    # Kafka wants a UUID in URL-safe base64, and not one that reads as an option of the formatting command.
    return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
