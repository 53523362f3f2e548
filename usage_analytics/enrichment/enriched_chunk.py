"""An enriched chunk on disk: a file of usage events, even an empty one, and one of dead letters where there are any.

Both say in their footers which content and which enrichment they are of; the events file, written last, also how many
dead letters there must be. So existence, sizes and footers together tell whether a chunk is done.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.lake.files import publish, remove
from usage_analytics.lake.layout import Layout
from usage_analytics.lake.sealed_parquet import ZSTD, Damaged, Footer, read_footer, verify_sealed, write_sealed
from usage_analytics.tables import EVENT_COLUMNS, arrow_schema

EVENT_SCHEMA = arrow_schema(EVENT_COLUMNS)
REPEATING = [
    "trading_day", "phase", "user_id", "client_firm", "mini_app", "action", "screen", "entity", "topic",
    "kafka_partition", "reason", "field",
]  # fmt: skip
DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("kafka_partition", pa.int32(), nullable=False),
        pa.field("kafka_offset", pa.int64(), nullable=False),
        pa.field("kafka_timestamp_us", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("field", pa.string()),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
    ]
)


@dataclass(frozen=True)
class EnrichedChunk:
    """What became of one raw chunk: rows + dead letters = its messages."""

    record: ChunkRecord
    path: Path
    rows: int
    dead_letters: int
    reasons: dict[str, int]
    fingerprint: str


class NotEnriched(UserError):
    """A chunk has no usage events yet, or not those wanted."""


class EnrichedDamaged(NotEnriched):
    """A file of an enriched chunk is missing, or not as it was written."""


Examination = Callable[[Layout, ChunkRecord], EnrichedChunk]


def write_enriched(
    layout: Layout, record: ChunkRecord, fingerprint: str, events: pa.Table, dead_letters: pa.Table,
    compression: str = ZSTD,
) -> EnrichedChunk:  # fmt: skip
    """Publish what became of a chunk, replacing what was there; ``compression``: of the events, as warehouses want."""
    identity = {"checksum": record.checksum, "fingerprint": fingerprint}
    # Dead letters first: the events file is what says that the chunk is done.
    path = layout.dead_letters(record.window, record.name)
    if dead_letters.num_rows:
        write_sealed(dead_letters, path, identity, REPEATING)
    else:
        remove(path)
    reasons = Counter(dead_letters.column("reason").to_pylist())
    facts = {f"reason:{reason}": str(count) for reason, count in sorted(reasons.items())}
    path = layout.usage_events(record.window, record.name)
    facts = {**identity, "dead_letters": str(dead_letters.num_rows), **facts}
    write_sealed(events, path, facts, REPEATING, compression)
    remove(_aside(path))
    return EnrichedChunk(record, path, events.num_rows, dead_letters.num_rows, dict(reasons), fingerprint)


def examine_footers(layout: Layout, record: ChunkRecord) -> EnrichedChunk:
    """What became of a chunk, if by existence, sizes and footers its files are whole; else `NotEnriched` says why."""
    return _examine(layout, record, read_footer)


def examine_every_byte(layout: Layout, record: ChunkRecord) -> EnrichedChunk:
    """As `examine_footers`, but reads both files whole."""
    return _examine(layout, record, verify_sealed)


def read_enriched(layout: Layout, record: ChunkRecord) -> EnrichedChunk | None:
    """What became of a chunk, by its footers; None where it is not enriched, damaged, or of other content."""
    try:
        return examine_footers(layout, record)
    except NotEnriched:
        return None


@dataclass(frozen=True)
class EnrichedReader:
    """Reads what enrichment left, of one fingerprint; makes nothing."""

    layout: Layout
    fingerprint: str

    def chunks(self, records: Iterable[ChunkRecord]) -> list[EnrichedChunk]:
        """What became of chunks; `NotEnriched` at the first that is not as enrichment would leave it now."""
        return [self._chunk(record) for record in records]

    def of_window(self, log: OffsetLog, window: str) -> Iterator[EnrichedChunk]:
        """As `chunks`, of the records that a window has when the first is asked for."""
        yield from map(self._chunk, log.of_window(window))

    def _chunk(self, record: ChunkRecord) -> EnrichedChunk:
        chunk = examine_footers(self.layout, record)
        if chunk.fingerprint != self.fingerprint:
            why = "under another mapping, key, calendar or version than now"
            raise NotEnriched(f"chunk {record.name} was enriched {why}: {_remedy(record)} first")
        return chunk


def verify_events(chunk: EnrichedChunk) -> None:
    """Read an events file whole before its rows are loaded; a damaged one is put aside, and `EnrichedDamaged` raised.

    Left in place, it would pass the next look at footers, and the window would not get past it.
    """
    try:
        verify_sealed(chunk.path)
    except Damaged as damage:
        if chunk.path.exists():
            publish(chunk.path, _aside(chunk.path))
        raise _damaged(chunk.path, chunk.record, damage) from None


def _examine(layout: Layout, record: ChunkRecord, look: Callable[[Path], Footer]) -> EnrichedChunk:
    path = layout.usage_events(record.window, record.name)
    if not path.exists():
        raise NotEnriched(f"chunk {record.name} is not enriched: {_remedy(record)} first")
    try:
        footer = look(path)
        chunk = _described(record, path, footer)
        if footer.facts["checksum"] != record.checksum:
            raise NotEnriched(f"chunk {record.name} was enriched from other content: {_remedy(record)} first")
    except (Damaged, KeyError, ValueError) as damage:
        raise _damaged(path, record, damage) from None
    _examine_dead_letters(layout, chunk, look)
    return chunk


def _described(record: ChunkRecord, path: Path, footer: Footer) -> EnrichedChunk:
    prefix, facts = "reason:", footer.facts
    reasons = {name.removeprefix(prefix): int(count) for name, count in facts.items() if name.startswith(prefix)}
    return EnrichedChunk(record, path, footer.rows, int(facts["dead_letters"]), reasons, facts["fingerprint"])


def _examine_dead_letters(layout: Layout, chunk: EnrichedChunk, look: Callable[[Path], Footer]) -> None:
    record = chunk.record
    path = layout.dead_letters(record.window, record.name)
    try:
        if not chunk.dead_letters:
            if path.exists():
                raise Damaged("there should be none")
            return
        footer = look(path)
        if footer.rows != chunk.dead_letters:
            raise Damaged(f"it has {footer.rows} dead letters, not {chunk.dead_letters}")
        if (footer.facts.get("checksum"), footer.facts.get("fingerprint")) != (record.checksum, chunk.fingerprint):
            raise Damaged("it is of another enrichment than the usage events")
    except Damaged as damage:
        raise _damaged(path, record, damage) from None


def _damaged(path: Path, record: ChunkRecord, why: Exception) -> EnrichedDamaged:
    return EnrichedDamaged(f"{path} is damaged ({why}): {_remedy(record)} again")


def _remedy(record: ChunkRecord) -> str:
    return f"materialize usage_events of window {record.window}"


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")
