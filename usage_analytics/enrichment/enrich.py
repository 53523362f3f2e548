"""Turns raw chunks into typed, enriched, pseudonymised usage events and dead letters: a pure function of a chunk.

Work already done is not done again: files carry a fingerprint of all that went into them besides the chunk, so that a
changed contract is seen, and a damaged file is made again.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from usage_analytics.contract import Mapping
from usage_analytics.enrichment.enriched_chunk import (
    EnrichedChunk,
    EnrichedDamaged,
    Examination,
    NotEnriched,
    examine_footers,
    write_enriched,
)
from usage_analytics.enrichment.fingerprint import enrichment_fingerprint
from usage_analytics.enrichment.judge import Judge, Judging
from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkDamaged, read_chunk
from usage_analytics.ingestion.landing import ended_from
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.layout import Layout
from usage_analytics.lake.sealed_parquet import ZSTD
from usage_analytics.trading_calendar import TradingCalendar

LOGGER = logging.getLogger(__name__)


@dataclass
class EnrichmentReport:
    """What became of a window's chunks."""

    chunks: list[EnrichedChunk] = field(default_factory=list)
    enriched_now: int = 0
    damage: list[str] = field(default_factory=list)  # what was wrong with files that were made again

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)

    @property
    def dead_letters(self) -> int:
        return sum(chunk.dead_letters for chunk in self.chunks)

    @property
    def reasons(self) -> dict[str, int]:
        return dict(sum((Counter(chunk.reasons) for chunk in self.chunks), Counter()))


class Enricher:
    """Judges and enriches chunks under one mapping, calendar and pseudonym key."""

    def __init__(
        self, layout: Layout, mapping: Mapping, calendar: TradingCalendar, key: bytes, batch_messages: int,
        compression: str = ZSTD,
    ) -> None:  # fmt: skip
        self._layout, self._judge = layout, Judge(mapping, calendar, key, batch_messages)
        self._calendar, self._compression = calendar, compression
        self.fingerprint = enrichment_fingerprint(mapping, calendar, key, compression)

    def enrich(self, records: Iterable[ChunkRecord], examine: Examination = examine_footers) -> EnrichmentReport:
        """The usage events and dead letters of chunks; those already there are kept if up to date and whole.

        ``examine`` decides how closely they are looked at.
        """
        report = EnrichmentReport()
        for record in records:
            chunk = self._kept(record, examine, report.damage)
            if chunk is None:
                chunk = self._enrich_chunk(record)
                report.enriched_now += 1
            report.chunks.append(chunk)
        return report

    def _kept(self, record: ChunkRecord, examine: Examination, damage: list[str]) -> EnrichedChunk | None:
        try:
            chunk = examine(self._layout, record)
        except EnrichedDamaged as found:
            damage.append(str(found))
            return None
        except NotEnriched:
            return None
        return chunk if chunk.fingerprint == self.fingerprint else None

    def while_landing(self, kafka_partition: int) -> "EnrichmentWhileLanding":
        """Enriches a chunk of a Kafka partition from its messages as they are landed."""
        return EnrichmentWhileLanding(self, self._judge.begin(self._layout.topic, kafka_partition))

    def write(self, record: ChunkRecord, judging: Judging) -> EnrichedChunk:
        """Publish what became of a chunk, all of whose messages have been judged."""
        return write_enriched(self._layout, record, self.fingerprint, *judging.finish(), self._compression)

    def _enrich_chunk(self, record: ChunkRecord) -> EnrichedChunk:
        judging = self._judge.begin(record.topic, record.kafka_partition)
        try:
            for batch in read_chunk(self._layout.raw_chunk(record.window, record.file), record):
                judging.add(batch)
        except ChunkDamaged as damage:
            ended = ended_from(self._calendar.window_from_key(record.window))
            remedy = f"materialize raw_messages of that window from {ended} on: it is then read again from Kafka"
            raise UserError(f"{damage}; {remedy}") from damage
        return self.write(record, judging)


class EnrichmentWhileLanding:
    """Enriches one chunk while it is being landed, so that it need not be read again.

    Landing never fails by it: what goes wrong here is left to `Enricher.enrich`, which finds the chunk not enriched,
    does the work from its file and tells what is the matter.
    """

    def __init__(self, enricher: Enricher, judging: Judging) -> None:
        self._enricher = enricher
        self._judging: Judging | None = judging

    def see(self, batch: pa.RecordBatch) -> None:
        """Judge the chunk's next messages."""
        if self._judging is not None:
            try:
                self._judging.add(batch)
            except Exception:
                self._give_up()

    def committed(self, record: ChunkRecord) -> None:
        """Publish what became of the chunk, now that it counts."""
        if self._judging is not None:
            try:
                self._enricher.write(record, self._judging)
            except Exception:
                self._give_up()

    def _give_up(self) -> None:
        LOGGER.warning("a chunk could not be enriched while it was landed; it is left for later", exc_info=True)
        self._judging = None
