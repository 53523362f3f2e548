"""Turns raw chunks into typed, enriched, pseudonymised usage events and dead letters: a pure function of a chunk.

Work already done is not done again: files carry a fingerprint of all that went into them besides the chunk, so that a
changed contract is seen, and a damaged file is made again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from usage_analytics.contract import MappedField, Mapping
from usage_analytics.enrichment.enriched_chunk import (
    DEAD_LETTER_SCHEMA,
    EVENT_SCHEMA,
    EnrichedChunk,
    EnrichedDamaged,
    Examination,
    NotEnriched,
    examine_footers,
    write_enriched,
)
from usage_analytics.enrichment.fingerprint import enrichment_fingerprint
from usage_analytics.enrichment.judgement import FIELD_PREFIX, PROPERTY_PREFIX, judgement_query
from usage_analytics.enrichment.pseudonyms import pseudonymise
from usage_analytics.enrichment.scanning import scanner
from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkDamaged, read_chunk
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import TradingCalendar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Place = dict[str, str | int]  # topic and Kafka partition
POSITION = ["kafka_offset", "kafka_timestamp_us"]


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
        self, layout: Layout, mapping: Mapping, calendar: TradingCalendar, key: bytes, batch_messages: int
    ) -> None:
        self._layout, self._mapping, self._calendar, self._key = layout, mapping, calendar, key
        self._batch_messages = batch_messages
        self._query = judgement_query(mapping, calendar)
        self._scanner = scanner(mapping, calendar)
        self._connection = duckdb.connect()
        self._connection.execute(f"SET threads = 1; SET TimeZone = '{mapping.timezone}'")
        self.fingerprint = enrichment_fingerprint(mapping, calendar, key)

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

    def _enrich_chunk(self, record: ChunkRecord) -> EnrichedChunk:
        raw = self._layout.raw_chunk(record.window, record.file)
        try:
            batches = read_chunk(raw, record, self._batch_messages)
            good, bad = self._judge_all(batches, {"topic": record.topic, "kafka_partition": record.kafka_partition})
        except ChunkDamaged as damage:
            remedy = "materialize raw_messages of that window once it has ended: it is then read again from Kafka"
            raise UserError(f"{damage}; {remedy}") from damage
        return write_enriched(self._layout, record, self.fingerprint, good, bad)

    def judge(self, batch: pa.RecordBatch, topic: str, kafka_partition: int) -> tuple[pa.Table, pa.Table]:
        """Messages of `RAW_SCHEMA` as usage events (`EVENT_SCHEMA`) and dead letters (`DEAD_LETTER_SCHEMA`)."""
        return self._judge_all([batch], {"topic": topic, "kafka_partition": kafka_partition})

    def _judge_all(self, batches: Iterable[pa.RecordBatch], place: Place) -> tuple[pa.Table, pa.Table]:
        events, late_events, letters = [EVENT_SCHEMA.empty_table()], [], [DEAD_LETTER_SCHEMA.empty_table()]
        for doubtful in self._doubtful(batches, place, events):
            judged = self._judged(doubtful)
            is_good = pc.is_null(judged.column("reason"))
            late_events.append(self._events(judged.filter(is_good), place))
            letters.append(self._dead_letters(judged.filter(pc.invert(is_good)), place))
        good = pa.concat_tables([*events, *late_events])
        if self._scanner is not None and any(table.num_rows for table in late_events):
            good = good.sort_by("kafka_offset")
        return good, pa.concat_tables(letters)

    def _doubtful(
        self, batches: Iterable[pa.RecordBatch], place: Place, events: list[pa.Table]
    ) -> Iterator[pa.RecordBatch]:
        """What the scanner leaves to the SQL, in batches that are worth a query; what it takes goes to ``events``."""
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            plain, left = self._scanned(batch)
            if plain is not None:
                events.append(self._events(plain, place))
            waiting.append(left)
            if sum(each.num_rows for each in waiting) >= self._batch_messages:
                yield pa.concat_batches(waiting)
                waiting = []
        if any(each.num_rows for each in waiting):
            yield pa.concat_batches(waiting)

    def _scanned(self, batch: pa.RecordBatch) -> tuple[pa.Table | None, pa.RecordBatch]:
        """The messages that the scanner takes, as `_judged` would give them, and those that it leaves."""
        if self._scanner is None:
            return None, batch
        scanned = self._scanner.scan(batch)
        left = np.ones(batch.num_rows, bool)
        left[scanned.rows] = False
        plain, positions = scanned.values, batch.select(POSITION).take(pa.array(scanned.rows))
        for name in POSITION:
            plain = plain.append_column(name, positions.column(name))
        if "properties" not in plain.column_names:
            plain = plain.append_column("properties", pa.nulls(plain.num_rows, pa.string()))
        return plain, batch.filter(pa.array(left))

    def _judged(self, batch: pa.RecordBatch) -> pa.Table:
        self._connection.register("messages", pa.Table.from_batches([batch]))
        judged = self._connection.sql(self._query).to_arrow_table().combine_chunks()
        if judged.num_rows != batch.num_rows:
            raise RuntimeError(f"judged {judged.num_rows} of {batch.num_rows} messages: rows would shift")
        return judged

    def _events(self, good: pa.Table, place: Place) -> pa.Table:
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

    def _dead_letters(self, bad: pa.Table, place: Place) -> pa.Table:
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
