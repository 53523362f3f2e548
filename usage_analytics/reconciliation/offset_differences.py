"""Which offsets are not at each hop once: a loss or a duplicate, to the offset."""

from collections.abc import Iterable, Iterator
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
SELECT kafka_offset FROM usage_events
WHERE topic = :topic AND kafka_partition = :kafka_partition AND kafka_offset >= :low AND kafka_offset < :high
ORDER BY kafka_offset
"""
AT_ONCE = 4_000_000  # offsets that are held in memory
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OffsetDifference:
    """Messages of one Kafka partition, ``first`` to ``last`` offset, that a hop lacks or has too often.

    ``hop``: raw, enriched (usage events and dead letters), loaded. ``kind``: lost, doubled, unknown to the hop before;
    before raw, that is what the chunk's record says of Kafka.
    """

    hop: str
    kind: str
    window: str
    kafka_partition: int
    first: int
    last: int
    messages: int


def offset_differences(
    records: Iterable[ChunkRecord], layout: Layout, warehouse: Warehouse, at_once: int = AT_ONCE
) -> list[OffsetDifference]:
    """The differences of chunks, hop by hop; a file that cannot be read has lost all that it should hold.

    The warehouse is opened once for all chunks that hold ``at_once`` offsets, and is free while files are read.
    """
    found: list[OffsetDifference] = []
    for together in _batches(records, at_once):
        for record, loaded in zip(together, _loaded(together, layout.topic, warehouse), strict=True):
            raw = _offsets(layout.raw_chunk(record.window, record.file))
            events = _offsets(layout.usage_events(record.window, record.name))
            letters = _offsets(layout.dead_letters(record.window, record.name))
            found += _raw_against_its_record(record, raw)
            found += _compared(record, "enriched", raw, np.concatenate([events, letters]))
            found += _compared(record, "loaded", events, loaded)
    return found


def _batches(records: Iterable[ChunkRecord], at_once: int) -> Iterator[list[ChunkRecord]]:
    batch: list[ChunkRecord] = []
    held = 0
    for record in records:
        held += record.end - record.start
        if batch and held > at_once:
            yield batch
            batch, held = [], record.end - record.start
        batch.append(record)
    if batch:
        yield batch


def _loaded(records: list[ChunkRecord], topic: str, warehouse: Warehouse) -> list[Offsets]:
    """The offsets that are loaded of each of the chunks, ascending."""
    ranges: list[tuple[int, int, int]] = []  # what chunks cover together: each row is asked for once
    for record in sorted(records, key=lambda r: (r.kafka_partition, r.start)):
        kafka_partition, low, high = ranges[-1] if ranges else (-1, 0, 0)
        if record.kafka_partition == kafka_partition and record.start <= high:
            ranges[-1] = (kafka_partition, low, max(high, record.end))
        else:
            ranges.append((record.kafka_partition, record.start, record.end))
    of_partition: dict[int, list[Offsets]] = {}
    with warehouse.session() as session:
        for kafka_partition, low, high in ranges:
            place = {"topic": topic, "kafka_partition": kafka_partition, "low": low, "high": high}
            offsets = session.frame(LOADED, place).get_column("kafka_offset").to_numpy()
            of_partition.setdefault(kafka_partition, []).append(offsets)
    together = {kafka_partition: np.concatenate(offsets) for kafka_partition, offsets in of_partition.items()}
    return [_between(together[r.kafka_partition], r.start, r.end) for r in records]


def _between(offsets: Offsets, start: int, end: int) -> Offsets:
    first, last = np.searchsorted(offsets, [start, end])
    return offsets[first:last]


def _raw_against_its_record(record: ChunkRecord, raw: Offsets) -> list[OffsetDifference]:
    there, times = np.unique(raw, return_counts=True)
    own = (there >= record.start) & (there < record.end)
    found = located(record, "raw", {"doubled": there[times > 1], "unknown to the hop before": there[~own]})
    rows = int(own.sum())
    if rows != record.rows:  # which of its offsets have messages, only Kafka knows
        kind = "lost" if rows < record.rows else "unknown to the hop before"
        place = (record.window, record.kafka_partition, record.start, record.end - 1)
        found.append(OffsetDifference("raw", kind, *place, abs(record.rows - rows)))
    return found


def _compared(record: ChunkRecord, hop: str, before: Offsets, after: Offsets) -> list[OffsetDifference]:
    there, times = np.unique(after, return_counts=True)
    kinds = {
        "lost": np.setdiff1d(before, there),
        "doubled": there[times > 1],
        "unknown to the hop before": np.setdiff1d(there, before),
    }
    return located(record, hop, kinds)


def located(record: ChunkRecord, hop: str, kinds: dict[str, Offsets]) -> list[OffsetDifference]:
    """Ascending offsets of a chunk, by what is the matter with them, as differences."""
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
