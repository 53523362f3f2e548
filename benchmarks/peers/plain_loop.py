"""The loop that everybody writes first: poll, `json.loads`, a list of dicts, a Parquet file for each 100,000."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer
from task import FETCHING, Task, asked, done, event

ROWS = 100_000


def main() -> None:
    task = asked()
    settings = {"bootstrap.servers": task.servers, "group.id": "plain-loop", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings | {"enable.auto.commit": False, "session.timeout.ms": 6000} | FETCHING)
    consumer.subscribe([task.topic])
    rows: list[dict[str, object]] = []
    read = written = 0
    while read < task.messages:
        message = consumer.poll(10)
        if message is None:
            break
        if message.error():
            continue
        read += 1
        if row := event(message.value()):
            rows.append(row)
        if len(rows) == ROWS or read == task.messages:
            written += write(task, rows, written)
            consumer.commit(asynchronous=False)
            rows.clear()
    consumer.close()
    done(read, written)


def write(task: Task, rows: list[dict[str, object]], number: int) -> int:
    path = task.folder / f"{number:012}.parquet"
    with path.with_suffix(".inprogress").open("wb") as file:
        pq.write_table(pa.Table.from_pylist(rows), file, compression="zstd")
        os.fsync(file.fileno())
    path.with_suffix(".inprogress").rename(path)
    return len(rows)


if __name__ == "__main__":
    main()
