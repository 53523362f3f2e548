"""Bytewax: Kafka source, `json.loads` in a map, batches of rows into a Parquet sink."""

from pathlib import Path
from typing import Any

import bytewax.operators as op
import pyarrow as pa
import pyarrow.parquet as pq
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from task import FETCHING, asked, done, event

BATCH = 10_000
COUNTS = {"read": 0, "written": 0}


class ParquetPartition(StatelessSinkPartition[dict[str, Any]]):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write_batch(self, items: list[dict[str, Any]]) -> None:
        pq.write_table(
            pa.Table.from_pylist(items), self._folder / f"{COUNTS['written']:012}.parquet", compression="zstd"
        )
        COUNTS["written"] += len(items)


class ParquetSink(DynamicSink[dict[str, Any]]):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, step_id: str, worker_index: int, worker_count: int) -> ParquetPartition:
        return ParquetPartition(self._folder)


def counted(message: Any) -> dict[str, Any] | None:
    COUNTS["read"] += 1
    return event(message.value)


def main() -> None:
    task = asked()
    flow = Dataflow("usage_events")
    settings = {"enable.partition.eof": "true"} | FETCHING
    source = KafkaSource([task.servers], [task.topic], tail=False, add_config=settings, batch_size=BATCH)
    messages = op.input("kafka", flow, source)
    op.output("parquet", op.filter_map("event", messages, counted), ParquetSink(task.folder))
    run_main(flow)
    done(COUNTS["read"], COUNTS["written"])


if __name__ == "__main__":
    main()
