"""Judges messages: those that keep the contract become typed, pseudonymised usage events, all others dead letters."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from usage_analytics.contract import MappedField, Mapping
from usage_analytics.enrichment.dead_letter_details import detail
from usage_analytics.enrichment.enriched_chunk import DEAD_LETTER_SCHEMA, EVENT_SCHEMA
from usage_analytics.enrichment.judgement_query import FIELD_PREFIX, PROPERTY_PREFIX, judgement_query
from usage_analytics.enrichment.pseudonyms import pseudonymise
from usage_analytics.enrichment.scanning import scanner
from usage_analytics.lake.pieces import spans, text_bytes
from usage_analytics.trading_calendar import TradingCalendar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SQL_BYTES = 8 * 2**20  # of messages in one query, which takes some twenty times as much memory

Place = dict[str, str | int]  # topic and Kafka partition
USER, USER_ID = "user", "user_id"  # in the mapping, and among usage events
POSITION = ["kafka_offset", "kafka_timestamp_us"]


class Judge:
    """Judges messages under one mapping, calendar and pseudonym key; one thread at a time."""

    def __init__(self, mapping: Mapping, calendar: TradingCalendar, key: bytes, batch_messages: int) -> None:
        self._mapping, self._calendar, self._key, self.batch_messages = mapping, calendar, key, batch_messages
        self._query = judgement_query(mapping, calendar)
        self._scanner = scanner(mapping, calendar)
        self._connection = duckdb.connect()
        self._connection.execute("SET threads = 1; SET enable_progress_bar = false")
        self._connection.execute(f"SET TimeZone = '{mapping.timezone}'")

    def begin(self, topic: str, kafka_partition: int) -> "Judging":
        """The judging of messages that come batch by batch."""
        return Judging(self, {"topic": topic, "kafka_partition": kafka_partition})

    def judge(self, batches: Iterable[pa.RecordBatch], topic: str, kafka_partition: int) -> tuple[pa.Table, pa.Table]:
        """Messages of `RAW_SCHEMA` as usage events (`EVENT_SCHEMA`) and dead letters (`DEAD_LETTER_SCHEMA`)."""
        judging = self.begin(topic, kafka_partition)
        for batch in batches:
            judging.add(batch)
        return judging.finish()

    def scanned(self, batch: pa.RecordBatch) -> tuple[pa.Table | None, pa.RecordBatch]:
        """The messages that the scanner takes, as `by_sql` would give them, and those that it leaves."""
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

    def by_sql(self, batch: pa.Table) -> pa.Table:
        self._connection.register("messages", batch)
        judged = self._connection.sql(self._query).to_arrow_table().combine_chunks()
        if judged.num_rows != batch.num_rows:
            raise RuntimeError(f"judged {judged.num_rows} of {batch.num_rows} messages: rows would shift")
        return judged

    def events(self, good: pa.Table, place: Place) -> pa.Table:
        if not good.num_rows:
            return EVENT_SCHEMA.empty_table()
        columns = {name: good.column(name) for name in ("kafka_offset", "kafka_timestamp_us")}
        for mapped in self._mapping.fields:
            columns[mapped.name] = good.column(FIELD_PREFIX + mapped.name).combine_chunks()
        if any(mapped.name == "event_id" and mapped.otherwise for mapped in self._mapping.fields):
            prefix = f"{place['topic']}+{place['kafka_partition']}+"
            position = pc.binary_join_element_wise(prefix, good.column("kafka_offset").cast(pa.string()), "")
            columns["event_id"] = pc.coalesce(columns["event_id"], position.combine_chunks())
        columns[USER_ID], columns["event_time_us"] = columns.pop(USER), columns.pop("event_time")
        columns["trading_day"], columns["phase"] = self._trading_time(columns["event_time_us"].to_numpy())
        columns["properties"] = self._properties(good)
        columns |= {name: pa.repeat(value, good.num_rows) for name, value in place.items()}
        nothing = pa.nulls(good.num_rows)
        return pa.table([columns.get(name, nothing).cast(EVENT_SCHEMA.field(name).type) for name in EVENT_SCHEMA.names],
                        schema=EVENT_SCHEMA)  # fmt: skip

    def under_pseudonyms(self, events: pa.Table) -> pa.Table:
        """Usage events that still hold identifiers of users, with their pseudonyms instead.

        For many events at once: each costs by the users there are, most of whom come back in every batch.
        """
        for mapped in self._mapping.fields:
            if mapped.pseudonymise:
                name = USER_ID if mapped.name == USER else mapped.name
                column = pseudonymise(self._key, events.column(name).combine_chunks())
                events = events.set_column(events.schema.get_field_index(name), events.schema.field(name), column)
        return events

    def _properties(self, good: pa.Table) -> pa.Array:
        names = [f.name for f in self._mapping.properties]
        picked = [self._property(good.column(PROPERTY_PREFIX + f.name), f) for f in self._mapping.properties]
        if not picked:
            return good.column("properties")
        columns = [f"c{number}" for number in range(len(names))]  # a property may be named as a word of SQL
        self._connection.register("picked", pa.table([good.column("properties"), *picked], ["whole", *columns]))
        pairs = ", ".join(f"'{name}', {column}" for name, column in zip(names, columns, strict=True))
        there = f"json_merge_patch('{{}}', json_object({pairs}))"  # less the nulls, which would take out what whole has
        query = f"SELECT json_merge_patch(coalesce(whole, '{{}}'), {there}) AS p FROM picked"
        return self._connection.sql(query).to_arrow_table().column("p").combine_chunks()

    def _property(self, column: pa.ChunkedArray, mapped: MappedField) -> pa.Array:
        return pseudonymise(self._key, column.combine_chunks()) if mapped.pseudonymise else column.combine_chunks()

    def _trading_time(self, times: np.ndarray) -> tuple[pa.Array, pa.Array]:
        first, last = (EPOCH + timedelta(microseconds=int(t)) for t in (times.min(), times.max()))
        intervals = self._calendar.phase_intervals(first, last)
        starts = np.array([(i.start - EPOCH) // timedelta(microseconds=1) for i in intervals])
        position = pa.array(np.searchsorted(starts, times, side="right") - 1)
        days = pa.array([interval.trading_day for interval in intervals], pa.date32())
        phases = pa.array([interval.phase for interval in intervals])
        return days.take(position), phases.take(position)

    def dead_letters(self, bad: pa.Table, place: Place) -> pa.Table:
        found = zip(*(bad.column(name).to_pylist() for name in ("reason", "field", "found", "value")), strict=True)
        exchange = self._calendar.clock.exchange
        columns = {name: bad.column(name) for name in ("kafka_offset", "kafka_timestamp_us", "reason", "key", "value")}
        columns["field"] = pc.if_else(pc.equal(bad.column("field"), ""), None, bad.column("field"))
        columns["detail"] = pa.array([detail(self._mapping, exchange, *facts) for facts in found], pa.string())
        columns |= {name: pa.repeat(value, bad.num_rows) for name, value in place.items()}
        ordered = [columns[name].cast(DEAD_LETTER_SCHEMA.field(name).type) for name in DEAD_LETTER_SCHEMA.names]
        return pa.table(ordered, schema=DEAD_LETTER_SCHEMA)


@dataclass
class Judging:
    """Messages of one Kafka partition on their way to usage events and dead letters."""

    judge: Judge
    place: Place
    _events: list[pa.Table] = field(default_factory=lambda: [EVENT_SCHEMA.empty_table()])
    _late_events: list[pa.Table] = field(default_factory=list)
    _letters: list[pa.Table] = field(default_factory=lambda: [DEAD_LETTER_SCHEMA.empty_table()])
    _doubtful: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take messages of `RAW_SCHEMA`, which follow those taken before."""
        plain, left = self.judge.scanned(batch)
        if plain is not None:
            self._events.append(self.judge.events(plain, self.place))
        if left.num_rows:
            self._doubtful.append(left)
        many = sum(each.num_rows for each in self._doubtful) >= self.judge.batch_messages
        if many or sum(each.nbytes for each in self._doubtful) >= SQL_BYTES:
            self._settle()

    def finish(self) -> tuple[pa.Table, pa.Table]:
        """Usage events (`EVENT_SCHEMA`) and dead letters (`DEAD_LETTER_SCHEMA`), each in the order of their offsets."""
        if self._doubtful:
            self._settle()
        good = pa.concat_tables([*self._events, *self._late_events])
        if len(self._events) > 1 and any(table.num_rows for table in self._late_events):
            good = good.sort_by("kafka_offset")
        return self.judge.under_pseudonyms(good), pa.concat_tables(self._letters)

    def _settle(self) -> None:
        # What the scanner leaves is gathered until it is worth a query, and large messages are not put into one.
        doubtful = pa.Table.from_batches(self._doubtful)
        for start, end in spans(text_bytes(doubtful.select(["value"])), SQL_BYTES):
            messages = doubtful.slice(start, end - start).combine_chunks()
            judged = self.judge.by_sql(messages)
            is_good = pc.is_null(judged.column("reason"))
            self._late_events.append(self.judge.events(judged.filter(is_good), self.place))
            self._letters.append(self.judge.dead_letters(judged.filter(pc.invert(is_good)), self.place))
        self._doubtful = []
