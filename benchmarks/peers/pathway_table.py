"""Pathway: its own JSON connector for Kafka, typed by a schema, into JSON lines (it has no free Parquet sink)."""

import os
import threading
from pathlib import Path

import pathway as pw
from task import asked, done, until_all_is_there


class Event(pw.Schema):
    event_id: str
    event_time: str
    user: str
    client_firm: str | None = pw.column_definition(default_value=None)
    user_session: str | None = pw.column_definition(default_value=None)
    mini_app: str
    action: str | None = pw.column_definition(default_value=None)
    screen: str | None = pw.column_definition(default_value=None)
    latency_ms: float | None = pw.column_definition(default_value=None)
    properties: pw.Json | None = pw.column_definition(default_value=None)


def main() -> None:
    task = asked()
    file = task.folder / "events.jsonl"

    def stop_when_done() -> None:  # a streaming run ends by itself only when it fails
        until_all_is_there(lambda: lines(file), task.messages)
        done(None, lines(file))  # it does not tell what it read
        os._exit(0)

    settings = {"bootstrap.servers": task.servers, "group.id": "pathway", "auto.offset.reset": "earliest"}
    table = pw.io.kafka.read(settings, topic=task.topic, schema=Event, format="json")
    pw.io.jsonlines.write(table, str(file))
    threading.Thread(target=stop_when_done, daemon=True).start()
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, terminate_on_error=False)


def lines(file: Path) -> int:
    if not file.exists():
        return 0
    with file.open("rb") as content:
        return sum(block.count(b"\n") for block in iter(lambda: content.read(2**22), b""))


if __name__ == "__main__":
    main()
