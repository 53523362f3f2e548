"""Counts at each hop: offsets = raw + empty + accepted losses, raw = enriched + dead letters, enriched = loaded."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice

from usage_analytics.enrichment.enriched_chunk import read_enriched
from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.lake.layout import Layout
from usage_analytics.warehouse.ledger import (
    COUNT,
    IN_DAYS,
    NOTHING,
    OF_SHARE,
    Held,
    altered,
    days_of_window,
    loaded_chunks,
    of_share,
)
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.session import Values

ROWS = f"""
SELECT load_window, kafka_partition, chunk_start, {COUNT} FROM usage_events WHERE {OF_SHARE}
"""
BY_CHUNK = "GROUP BY load_window, kafka_partition, chunk_start"
# Before, between and behind the loaded chunks of each Kafka partition. Sums show whether there is anything between: a
# look at each pair of neighbours would cost the more the older the topic is.
NOT_LOADED = """
WITH held AS (
  SELECT kafka_partition, start_offset, end_offset FROM load_ledger
  WHERE topic = :topic AND kafka_partition % :of = :number
), spans AS (
  SELECT kafka_partition, MIN(start_offset) AS first_offset, MAX(end_offset) AS last_offset,
         SUM(end_offset - start_offset) AS offsets
  FROM held GROUP BY kafka_partition
), neighbours AS (
  SELECT kafka_partition, LAG(end_offset) OVER (PARTITION BY kafka_partition ORDER BY start_offset) AS low,
         start_offset AS high
  FROM held WHERE kafka_partition IN (SELECT kafka_partition FROM spans WHERE offsets <> last_offset - first_offset)
)
SELECT kafka_partition, 0 AS low, first_offset AS high FROM spans
UNION ALL SELECT kafka_partition, low, high FROM neighbours WHERE low < high
UNION ALL SELECT kafka_partition, last_offset, NULL FROM spans
ORDER BY kafka_partition, low DESC
"""
MOST_UNFINISHED = 1_000  # records read of one Kafka partition: a warehouse that was lost must not cost a tick


def unfinished_chunks(log: OffsetLog, topic: str, warehouse: Warehouse) -> list[ChunkRecord]:
    """The chunks of the log whose offsets are not in the warehouse, because their run died or goes on.

    Newest first, of each Kafka partition at most `MOST_UNFINISHED`, however old they are: what is finished costs only a
    sum over the ledger.
    """
    committed = log.committed()  # before the ledger: what lands meanwhile is not missed in it
    if not committed:
        return []
    gaps: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
    for kafka_partition, low, high in warehouse.read(NOT_LOADED, of_share(topic, log.share)).iter_rows():
        gaps[kafka_partition].append((low, high))
    found: list[ChunkRecord] = []
    for number, end in committed.items():
        ranges = [(low, end if high is None else min(high, end)) for low, high in gaps.get(number, [(0, None)])]
        records = (log.of_offsets(number, low, high) for low, high in ranges if low < high)
        found += islice(chain.from_iterable(records), MOST_UNFINISHED)
    return found


def refuse_lost_records(
    log: OffsetLog, records: Iterable[ChunkRecord], topic: str, warehouse: Warehouse, window: str | None = None
) -> None:
    """`UserError` if a window (or any) was loaded from chunks of which the lake has lost the records.

    ``records``: the log's, of the window (or all). What Kafka gave again, and so other records hold, is not lost.
    """
    there = {(*_key(record), record.end) for record in records}
    with warehouse.session() as session:
        rows = loaded_chunks(session, topic, log.share, window)
    loaded = [(row.load_window, row.kafka_partition, row.start_offset, row.end_offset) for row in rows]
    # Records are searched only for the few places that are not among those at hand: it takes a walk through the log.
    lost = [place for place in loaded if place not in there and not log.covers(*place[1:])]
    if lost:
        window, partition, start, end = lost[0]
        more = f" (and {len(lost) - 1} chunks more)" if len(lost) > 1 else ""
        raise UserError(
            f"topic {topic!r}, Kafka partition {partition}, offsets {start} to {end} of window {window}{more}: the "
            "warehouse holds them, but the lake has lost their records; restore these from a copy of the lake, or, "
            f"without one, give up what only the warehouse holds: {warehouse.rebuild}"
        )


@dataclass(frozen=True)
class HopCounts:
    """The messages of one chunk at each hop; None where the chunk has not come that far."""

    record: ChunkRecord
    enriched: int | None
    dead_letters: int | None
    loaded: int | None
    altered: bool = False  # as many rows as were loaded, but not of the same offsets

    @property
    def balances(self) -> bool:
        if self.enriched is None or self.dead_letters is None or self.altered:
            return False
        return self.record.rows == self.enriched + self.dead_letters and self.enriched == self.loaded

    def describe(self) -> str:
        r = self.record
        place = f"Kafka partition {r.kafka_partition}, offsets {r.start} to {r.end}, window {r.window}"
        hops = f"{r.rows} raw, {self.enriched} enriched + {self.dead_letters} dead letters, {self.loaded} loaded"
        if self.altered:
            hops += ", not the offsets that were loaded"
        return f"{place}: {hops}"


@dataclass(frozen=True)
class Reconciliation:
    """Chunks at each hop, and by window the rows that it loaded into the warehouse but no chunk accounts for."""

    chunks: list[HopCounts]
    unexplained: dict[str, int]

    @property
    def loaded(self) -> int:
        return sum(count.loaded or 0 for count in self.chunks) + sum(self.unexplained.values())

    def differences(self) -> list[str]:
        """What does not agree, in words; empty when everything does."""
        return [count.describe() for count in self.chunks if not count.balances] + self.strays()

    def strays(self) -> list[str]:
        """Rows that no chunk accounts for, in words."""
        rows = self.unexplained.items()
        return [f"the warehouse holds {n} rows, loaded from window {w}, that no chunk explains" for w, n in rows]


def reconcile_window(log: OffsetLog, layout: Layout, warehouse: Warehouse, window: str) -> Reconciliation:
    """One window's chunks against the rows it loaded and those that others loaded from the same offsets.

    Rows are looked for between the first and the last trading day that the ledger knows of the window. Of a share's
    log, only its Kafka partitions: how far another run has come with the others is not asked.
    """
    records = log.of_window(window)  # what another run lands and loads meanwhile is its own to answer for
    which, values = ["load_window = :load_window"], {**of_share(layout.topic, log.share), "load_window": window}
    for partition in {record.kafka_partition for record in records}:
        of_partition = [record for record in records if record.kafka_partition == partition]
        which.append(
            f"kafka_partition = :p{partition} AND kafka_offset >= :low{partition} AND kafka_offset < :high{partition}"
        )
        values[f"p{partition}"] = partition
        values[f"low{partition}"] = min(r.start for r in of_partition)
        values[f"high{partition}"] = max(r.end for r in of_partition)
    with warehouse.session() as session:
        values |= days_of_window(session, layout.topic, log.share, window)
    query = f"{ROWS} AND {IN_DAYS} AND ({' OR '.join(which)}) {BY_CHUNK}"
    counts = _reconciled(log, layout, warehouse, window, query, values)
    return Reconciliation([count for count in counts.chunks if count.record in records], counts.unexplained)


def reconcile(log: OffsetLog, layout: Layout, warehouse: Warehouse) -> Reconciliation:
    """All chunks against all rows of the topic; what stands in the warehouse is counted, not believed."""
    return _reconciled(log, layout, warehouse, None, f"{ROWS} {BY_CHUNK}", of_share(layout.topic, log.share))


def _reconciled(
    log: OffsetLog, layout: Layout, warehouse: Warehouse, window: str | None, query: str, values: Values
) -> Reconciliation:
    # Rows first, records last: what is loaded meanwhile is then a chunk without all its rows, not rows without a chunk.
    with warehouse.session() as session:
        there = {
            (w, partition, start): Held(n, int(total)) for w, partition, start, n, total in session.rows(query, values)
        }
        ledger = {(row.load_window, row.kafka_partition, row.start_offset): row
                  for row in loaded_chunks(session, layout.topic, log.share, window)}  # fmt: skip
    unexplained = Counter[str]()
    for (of_window, _, _), rows in there.items():
        unexplained[of_window] += rows.rows
    counts = []
    for record in log.all() if window is None else log.of_window(window):
        chunk, row = read_enriched(layout, record), ledger.get(_key(record))
        enriched, letters = (chunk.rows, chunk.dead_letters) if chunk else (None, None)
        held = there.get(_key(record), NOTHING)
        exchanged = row is not None and held.rows == row.row_count and altered(row, held)
        counts.append(HopCounts(record, enriched, letters, held.rows if row else None, exchanged))
        unexplained[record.window] -= counts[-1].loaded or 0
    return Reconciliation(counts, {of_window: left for of_window, left in sorted(unexplained.items()) if left > 0})


def _key(record: ChunkRecord) -> tuple[str, int, int]:
    return record.window, record.kafka_partition, record.start
