"""Where simulated messages go: the partitions of a Kafka topic, or files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from usage_analytics.errors import UserError
from usage_analytics.simulation.producing import TopicProducer
from usage_analytics.simulation.rendering import Messages
from usage_analytics.simulation.writing import writing


class Sink(Protocol):
    """Takes the messages of lanes, in order."""

    def write(self, lane: int, messages: Messages) -> None: ...

    def close(self) -> None:
        """Wait until all of them are where they should be."""
        ...


class Target(Protocol):
    """What a sink is opened from, in each process anew."""

    @property
    def place(self) -> str:
        """What it is called, in the truth and to a person."""
        ...

    def open(self, lanes: list[int]) -> Sink: ...


@dataclass(frozen=True)
class KafkaTarget:
    """One Kafka partition for each lane, of the same number."""

    client: dict[str, Any]
    topic: str
    topic_id: str = ""  # empty where the cluster tells none

    @property
    def place(self) -> str:
        which = f"(id {self.topic_id})" if self.topic_id else f"at {self.client['bootstrap.servers']}"
        return f"topic {self.topic!r} {which}"

    def open(self, lanes: list[int]) -> Sink:
        return _KafkaSink(TopicProducer(self.client, self.topic))


@dataclass(frozen=True)
class FolderTarget:
    """One NDJSON file for each lane; a tombstone is an empty line, the very last one two.

    `ndjson_messages` reads the same messages from it: to it one empty line at the end of a file is no message.
    """

    folder: Path

    @property
    def place(self) -> str:
        return f"folder {self.folder.absolute()}"

    def open(self, lanes: list[int]) -> Sink:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            return _FolderSink({lane: self.path(lane).open("wb", buffering=2**20) for lane in lanes}, {})

    def refuse_other_lanes(self, lanes: int) -> None:
        """`UserError` if the folder holds files of lanes that this simulation does not have: they would stay."""
        mine = {self.path(lane) for lane in range(lanes)}
        others = sorted(path for path in self.folder.glob("messages-*.ndjson") if path not in mine)
        if others:
            raise UserError(
                f"{self.folder} holds {others[0].name} of a simulation with more lanes; choose another folder"
            )

    def path(self, lane: int) -> Path:
        """The file of a lane."""
        return self.folder / f"messages-{lane:03d}.ndjson"


@dataclass(frozen=True)
class _KafkaSink:
    producer: TopicProducer

    def write(self, lane: int, messages: Messages) -> None:
        self.producer.send(zip(messages.keys, messages.values, strict=True), lane)

    def close(self) -> None:
        self.producer.close()


@dataclass(frozen=True)
class _FolderSink:
    files: dict[int, BinaryIO]
    last: dict[int, bytes | None]

    def write(self, lane: int, messages: Messages) -> None:
        file = self.files[lane]
        with writing(Path(file.name)):
            file.write(b"\n".join([*(value or b"" for value in messages.values), b""]))
        for value in messages.values[-1:]:
            self.last[lane] = value

    def close(self) -> None:
        for lane, file in self.files.items():
            with writing(Path(file.name)):
                if not self.last.get(lane, b"none"):
                    file.write(b"\n")
                file.close()
