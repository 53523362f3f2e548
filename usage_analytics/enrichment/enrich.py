"""Turns raw chunks into typed, enriched, pseudonymised usage events and dead letters: a pure function of a chunk.

Each raw chunk gives one Parquet file of usage events (even an empty one: it says that the chunk was judged) and, where
messages broke the contract, one of dead letters. Files carry a fingerprint of all that went into them besides the
chunk, so that work already done is not done again and a changed contract is seen.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from usage_analytics.contract import MappedField, Mapping
from usage_analytics.enrichment.judgement import FIELD_PREFIX, PROPERTY_PREFIX, judgement_query
from usage_analytics.enrichment.pseudonyms import key_fingerprint, pseudonymise
from usage_analytics.ingestion.chunk_file import read_chunk
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.files import publish, remove, temporary_beside
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import TradingCalendar

VERSION = 1  # raise it whenever the same chunk and mapping would give other rows
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EVENT_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_time_us", pa.int64(), nullable=False),
        pa.field("trading_day", pa.date32(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("client_firm", pa.string()),
        pa.field("user_session", pa.string()),
        pa.field("mini_app", pa.string(), nullable=False),
        pa.field("action", pa.string()),
        pa.field("screen", pa.string()),
        pa.field("latency_ms", pa.float64()),
        pa.field("properties", pa.string()),
        pa.field("topic", pa.string(), nullable=False),
        pa.field("kafka_partition", pa.int32(), nullable=False),
        pa.field("kafka_offset", pa.int64(), nullable=False),
        pa.field("kafka_timestamp_us", pa.int64()),
    ]
)
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


@dataclass
class EnrichmentReport:
    """What became of a window's chunks."""

    chunks: list[EnrichedChunk] = field(default_factory=list)
    enriched_now: int = 0

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
        self, layout: Layout, mapping: Mapping, calendar: TradingCalendar, key: bytes, batch_messages: int
    ) -> None:
        self._layout, self._mapping, self._calendar, self._key = layout, mapping, calendar, key
        self._batch_messages = batch_messages
        self._query = judgement_query(mapping, calendar)
        self._connection = duckdb.connect()
        self._connection.execute(f"SET threads = 1; SET TimeZone = '{mapping.timezone}'")
        inputs = f"{VERSION} {mapping.fingerprint} {key_fingerprint(key)} {calendar.fingerprint}"
        self.fingerprint = hashlib.sha256(inputs.encode()).hexdigest()[:16]

    def enrich(
        self, records: Iterable[ChunkRecord], progress: Callable[[int], None] = lambda rows: None
    ) -> EnrichmentReport:
        """The usage events and dead letters of chunks; those already there and unchanged are kept."""
        report = EnrichmentReport()
        for record in records:
            done = read_enriched(self._layout, record)
            if done is None or done.fingerprint != self.fingerprint:
                done = self._enrich_chunk(record)
                report.enriched_now += 1
            report.chunks.append(done)
            progress(record.rows)
        return report

    def _enrich_chunk(self, record: ChunkRecord) -> EnrichedChunk:
        events, letters = [EVENT_SCHEMA.empty_table()], [DEAD_LETTER_SCHEMA.empty_table()]
        raw = self._layout.raw_chunk(record.window, record.file)
        for batch in read_chunk(raw, record, self._batch_messages):
            good, bad = self.judge(batch, record.topic, record.kafka_partition)
            events.append(good)
            letters.append(bad)
        # Dead letters first: the events file is what says that the chunk is done.
        dead = pa.concat_tables(letters)
        path = self._layout.dead_letters(record.window, record.name)
        if dead.num_rows:
            _write(dead, path, {})
        else:
            remove(path)
        reasons = Counter(dead.column("reason").to_pylist())
        good = pa.concat_tables(events)
        facts = {"checksum": record.checksum, "fingerprint": self.fingerprint, "dead_letters": str(dead.num_rows)}
        facts |= {f"reason:{reason}": str(count) for reason, count in sorted(reasons.items())}
        path = self._layout.usage_events(record.window, record.name)
        _write(good, path, facts)
        return EnrichedChunk(record, path, good.num_rows, dead.num_rows, dict(reasons), self.fingerprint)

    def judge(self, batch: pa.RecordBatch, topic: str, kafka_partition: int) -> tuple[pa.Table, pa.Table]:
        """Messages of `RAW_SCHEMA` as usage events (`EVENT_SCHEMA`) and dead letters (`DEAD_LETTER_SCHEMA`)."""
        self._connection.register("messages", pa.Table.from_batches([batch]))
        judged = self._connection.sql(self._query).to_arrow_table().combine_chunks()
        if judged.num_rows != batch.num_rows:
            raise RuntimeError(f"judged {judged.num_rows} of {batch.num_rows} messages: rows would shift")
        place: dict[str, str | int] = {"topic": topic, "kafka_partition": kafka_partition}
        is_good = pc.is_null(judged.column("reason"))
        bad = judged.filter(pc.invert(is_good))
        return self._events(judged.filter(is_good), place), self._dead_letters(bad, place)

    def _events(self, good: pa.Table, place: dict[str, str | int]) -> pa.Table:
        if not good.num_rows:
            return EVENT_SCHEMA.empty_table()
        columns = {name: good.column(name) for name in ("kafka_offset", "kafka_timestamp_us")}
        for mapped in self._mapping.fields:
            columns[mapped.name] = self._column(good, FIELD_PREFIX, mapped)
        columns["user_id"], columns["event_time_us"] = columns.pop("user"), columns.pop("event_time")
        columns["trading_day"], columns["phase"] = self._trading_time(columns["event_time_us"].to_numpy())
        columns["properties"] = self._properties(good)
        columns |= {name: pa.repeat(value, good.num_rows) for name, value in place.items()}
        nothing = pa.nulls(good.num_rows)
        return pa.table([columns.get(name, nothing).cast(EVENT_SCHEMA.field(name).type) for name in EVENT_SCHEMA.names],
                        schema=EVENT_SCHEMA)  # fmt: skip

    def _column(self, table: pa.Table, prefix: str, mapped: MappedField) -> pa.Array:
        column = table.column(prefix + mapped.name).combine_chunks()
        return pseudonymise(self._key, column) if mapped.pseudonymise else column

    def _properties(self, good: pa.Table) -> pa.Array:
        names = [f.name for f in self._mapping.properties]
        picked = [self._column(good, PROPERTY_PREFIX, f) for f in self._mapping.properties]
        if not picked:
            return good.column("properties")
        columns = [f"c{number}" for number in range(len(names))]  # a property may be named as a word of SQL
        self._connection.register("picked", pa.table([good.column("properties"), *picked], ["whole", *columns]))
        pairs = ", ".join(f"'{name}', {column}" for name, column in zip(names, columns, strict=True))
        query = f"SELECT json_merge_patch(coalesce(whole, '{{}}'), json_object({pairs})) AS p FROM picked"
        return self._connection.sql(query).to_arrow_table().column("p").combine_chunks()

    def _trading_time(self, times: np.ndarray) -> tuple[pa.Array, pa.Array]:
        first, last = (EPOCH + timedelta(microseconds=int(t)) for t in (times.min(), times.max()))
        intervals = self._calendar.phase_intervals(first, last)
        starts = np.array([(i.start - EPOCH) // timedelta(microseconds=1) for i in intervals])
        position = pa.array(np.searchsorted(starts, times, side="right") - 1)
        days = pa.array([interval.trading_day for interval in intervals], pa.date32())
        phases = pa.array([interval.phase for interval in intervals])
        return days.take(position), phases.take(position)

    def _dead_letters(self, bad: pa.Table, place: dict[str, str | int]) -> pa.Table:
        found = zip(*(bad.column(name).to_pylist() for name in ("reason", "field", "found")), strict=True)
        columns = {name: bad.column(name) for name in ("kafka_offset", "kafka_timestamp_us", "reason", "key", "value")}
        columns["field"] = pc.if_else(pc.equal(bad.column("field"), ""), None, bad.column("field"))
        columns["detail"] = pa.array([self._sentence(*facts) for facts in found], pa.string())
        columns |= {name: pa.repeat(value, bad.num_rows) for name, value in place.items()}
        ordered = [columns[name].cast(DEAD_LETTER_SCHEMA.field(name).type) for name in DEAD_LETTER_SCHEMA.names]
        return pa.table(ordered, schema=DEAD_LETTER_SCHEMA)

    def _sentence(self, reason: str, name: str, found: str | None) -> str:
        mapped = next((f for f in (*self._mapping.fields, *self._mapping.properties) if f.name == name), None)
        place = " or ".join(mapped.pointers) if mapped else self._mapping.properties_object or ""
        wanted = "object" if mapped is None else mapped.kind
        return {
            "empty_message": "the message is empty (a tombstone)",
            "not_utf8": "the message is not UTF-8 text",
            "not_json": f"the message is not JSON: {found}",
            "not_an_object": f"expected a JSON object, found {found}",
            "missing_field": f"{name} is missing: {found or 'nothing'} at {place}",
            "wrong_type": f"{name} at {place}: expected {wanted}, found {found}",
            "absurd_time": f"{name} {found} is before {self._mapping.earliest} or far after Kafka received the message",
            "no_trading_day": f"{name} {found} is in no trading day known of {self._calendar.clock.exchange}",
        }[reason]


def read_enriched(layout: Layout, record: ChunkRecord) -> EnrichedChunk | None:
    """What the lake says became of a chunk; None where it was not enriched, or from other content."""
    path = layout.usage_events(record.window, record.name)
    try:
        metadata = pq.read_metadata(path)
    except (FileNotFoundError, pa.ArrowException, OSError):
        return None
    facts = {name.decode(): value.decode() for name, value in (metadata.metadata or {}).items()}
    if facts.get("checksum") != record.checksum:
        return None
    reasons = {k.removeprefix("reason:"): int(v) for k, v in facts.items() if k.startswith("reason:")}
    return EnrichedChunk(
        record, path, metadata.num_rows, int(facts["dead_letters"]), reasons, facts["fingerprint"]
    )  # fmt: skip


def _write(table: pa.Table, path: Path, facts: dict[str, str]) -> None:
    temporary = temporary_beside(path)
    with pq.ParquetWriter(temporary, table.schema, compression="zstd", compression_level=1) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(facts)
    publish(temporary, path)
