"""Reads dead letters back: which there are and why, and which windows another contract judged than that of now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk, EnrichedDamaged, NotEnriched, examine_footers
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.lake.layout import Layout

REASONS = (
    "empty_message", "not_utf8", "not_json", "not_an_object", "missing_field", "wrong_type", "absurd_time",
    "no_trading_day", "broken_check", "too_large",
)  # fmt: skip


@dataclass(frozen=True)
class WindowLetters:
    """The chunks of one window as they are enriched now."""

    window: str
    chunks: list[EnrichedChunk]

    @property
    def dead_letters(self) -> int:
        """How many messages of the window broke the contract."""
        return sum(chunk.dead_letters for chunk in self.chunks)

    def is_outdated(self, fingerprint: str) -> bool:
        """Whether some of it was judged under another contract than that of the fingerprint."""
        return any(chunk.fingerprint != fingerprint for chunk in self.chunks)


def letters_by_window(layout: Layout, log: OffsetLog, windows: Sequence[str] = ()) -> list[WindowLetters]:
    """Those of the given windows (or of all) that have dead letters, oldest first; a damaged file is a `UserError`."""
    found = []
    for window in sorted(windows or layout.windows_with_dead_letters()):
        chunks = [chunk for record in log.of_window(window) if (chunk := _examined(layout, record)) is not None]
        found.append(WindowLetters(window, chunks))
    return [each for each in found if each.dead_letters]


def all_letters(layout: Layout, windows: Iterable[WindowLetters]) -> pl.LazyFrame:
    """The dead letters of windows: columns of `DEAD_LETTER_SCHEMA`, and ``window``."""
    frames = []
    for each in windows:
        paths = [layout.dead_letters(each.window, c.record.name) for c in each.chunks if c.dead_letters]
        frames.append(pl.scan_parquet(paths, glob=False).with_columns(window=pl.lit(each.window)))
    return pl.concat(frames)


def by_reason(letters: pl.LazyFrame) -> pl.DataFrame:
    """Of each reason and field: ``messages``, ``windows``, and Kafka partition, offset and detail of the first."""
    first = pl.struct("kafka_partition", "kafka_offset", "detail").sort_by("window", "kafka_partition", "kafka_offset")
    grouped = letters.group_by("reason", "field").agg(
        messages=pl.len(), windows=pl.col("window").n_unique(), first=first.first()
    )
    return grouped.unnest("first").sort("messages", "reason", "field", descending=[True, False, False]).collect()


def _examined(layout: Layout, record: ChunkRecord) -> EnrichedChunk | None:
    try:
        return examine_footers(layout, record)
    except EnrichedDamaged:
        raise
    except NotEnriched:  # it may be landing just now
        return None
