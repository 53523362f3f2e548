"""Which offsets are not at each hop once: a loss or a duplicate, to the offset."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.layout import Layout
from usage_analytics.warehouse.protocol import Warehouse

LOADED = """
SELECT kafka_offset FROM usage_events WHERE topic = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?
"""
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OffsetDifference:
    """Messages of one Kafka partition, ``first`` to ``last`` offset, that a hop lacks or has too often.

    ``hop``: raw, enriched (usage events and dead letters), loaded. ``kind``: lost, doubled, unknown to the hop before.
    """

    hop: str
    kind: str
    window: str
    kafka_partition: int
    first: int
    last: int
    messages: int


def offset_differences(records: Iterable[ChunkRecord], layout: Layout, warehouse: Warehouse) -> list[OffsetDifference]:
    """The differences of chunks, hop by hop; a file that cannot be read has lost all that it should hold."""
    found: list[OffsetDifference] = []
    for record in records:
        raw = _offsets(layout.raw_chunk(record.window, record.file))
        events = _offsets(layout.usage_events(record.window, record.name))
        letters = _offsets(layout.dead_letters(record.window, record.name))
        where = [record.topic, record.kafka_partition, record.start, record.end]
        loaded = warehouse.read(LOADED, where).get_column("kafka_offset").to_numpy()
        if len(raw) != record.rows:  # which of its offsets had messages, only Kafka knows
            place = (record.window, record.kafka_partition, record.start, record.end - 1)
            found.append(OffsetDifference("raw", "lost", *place, record.rows - len(raw)))
        found += _compared(record, "enriched", raw, np.concatenate([events, letters]))
        found += _compared(record, "loaded", events, loaded)
    return found


def _compared(record: ChunkRecord, hop: str, before: Offsets, after: Offsets) -> list[OffsetDifference]:
    there, times = np.unique(after, return_counts=True)
    kinds = {
        "lost": np.setdiff1d(before, there),
        "doubled": there[times > 1],
        "unknown to the hop before": np.setdiff1d(there, before),
    }
    return [
        OffsetDifference(hop, kind, record.window, record.kafka_partition, int(run[0]), int(run[-1]), len(run))
        for kind, offsets in kinds.items()
        for run in _runs(offsets)
    ]


def _runs(offsets: Offsets) -> list[Offsets]:
    """Ascending offsets, cut where some are missing between."""
    return np.split(offsets, np.flatnonzero(np.diff(offsets) > 1) + 1) if len(offsets) else []


def _offsets(path: Path) -> Offsets:
    try:
        column = pq.read_table(path, columns=["kafka_offset"]).column("kafka_offset")
    except (OSError, pa.ArrowException):
        return np.empty(0, np.int64)
    return column.to_numpy()
