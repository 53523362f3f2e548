"""mq-bridge: a route of its Rust core from Kafka to Parquet files, two batches at a time."""

import pyarrow.parquet as pq
from mq_bridge import Route
from task import FETCHING, Task, asked, done, until_all_is_there


def main() -> None:
    task = asked()
    kafka = {
        "url": task.servers,
        "topic": task.topic,
        "group_id": "mq-bridge",
        "consumer_options": [["auto.offset.reset", "earliest"], ["session.timeout.ms", "6000"], *FETCHING.items()],
    }
    files = {"url": f"file://{task.folder}", "format": "parquet", "compression": "zstd", "fsync": "batch"}
    route = Route.from_config(
        {"input": {"kafka": kafka}, "output": {"object_store": files}, "batch_size": 100_000, "concurrency": 2}
    )
    route.start()
    until_all_is_there(lambda: written(task), task.messages)
    route.stop()
    route.join()
    done(None, written(task))  # it does not tell what it read


def written(task: Task) -> int:
    return sum(pq.read_metadata(path).num_rows for path in task.folder.rglob("*.parquet"))


if __name__ == "__main__":
    main()
