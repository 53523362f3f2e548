"""Landing: whatever happens, the messages in the lake are those that were produced, each once, in order."""

import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import (
    AMPLE,
    OPEN,
    TOPIC,
    Crash,
    FakeKafka,
    FakePartition,
    give_up,
    hire,
    land_all,
    memory_folder,
    messages_in_lake,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from usage_analytics.errors import UserError
from usage_analytics.ingestion.beginnings import remembered
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.chunk_landing import Limits
from usage_analytics.ingestion.continuation import plan_what_continues
from usage_analytics.ingestion.landing import GRACE, LandingReport, land
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.ingestion.planning import plan
from usage_analytics.ingestion.range_reader import Undeliverable
from usage_analytics.ingestion.verification import tiling_faults
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import Window, trading_calendar

WINDOWS = trading_calendar().windows_of(date(2026, 11, 23))
LIMITS = st.builds(
    Limits,
    messages_per_run=st.integers(1, 20),
    chunk_messages=st.integers(1, 8),
    chunk_bytes=st.sampled_from([1, 200, 2**30]),
    batch_messages=st.integers(1, 5),
    threads=st.just(1),  # what races do is chosen here, not left to the machine: a failure must repeat
)
VALUES = st.lists(st.one_of(st.none(), st.binary(max_size=6)), min_size=1, max_size=12)
KAFKA_PARTITIONS = st.integers(0, 1)
Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "overwritten": lambda path: path.write_bytes(b"PAR1 not a chunk PAR1"),
}


class CrashingLog(OffsetLog):
    """Dies just before or just after a commit."""

    when = ""

    def commit(self, record: ChunkRecord) -> None:
        if self.when == "before commit":
            raise Crash
        super().commit(record)
        if self.when == "after commit":
            raise Crash


class LandingMachine(RuleBasedStateMachine):
    """Produce, land, crash, race, lose files and messages, in any order."""

    @initialize()
    def start(self) -> None:
        self.folder = memory_folder()
        self.layout = Layout(Path(self.folder.name), TOPIC)
        self.log = OffsetLog(self.layout.offsets)
        self.kafka = FakeKafka.of(2)
        self.produced: dict[int, list[tuple[int, bytes | None, bytes | None]]] = {0: [], 1: []}
        self.window = 0

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        self.land(AMPLE)
        for kafka_partition, produced in self.produced.items():
            assert messages_in_lake(self.layout, kafka_partition) == produced
        assert all(self.committed(p) == held.high for p, held in self.kafka.kafka_partitions.items())
        self.folder.cleanup()

    def land(self, limits: Limits, window: int | None = None, log: OffsetLog | None = None) -> LandingReport:
        chosen = WINDOWS[self.window if window is None else window]
        now = WINDOWS[self.window].start
        return land(hire(self.kafka), log or self.log, self.layout, chosen, limits, now)

    def committed(self, kafka_partition: int) -> int:
        """Where landing goes on, or would begin."""
        began = remembered(self.log.folder, self.kafka.identity)
        start = self.kafka.kafka_partitions[kafka_partition].low if began is None else began.of(kafka_partition)
        return self.log.committed().get(kafka_partition, start)

    def refused(self, *facts: object) -> None:
        before = self.state()
        with pytest.raises(UserError) as caught:
            self.land(AMPLE)
        sentence = str(caught.value)
        assert all(str(fact) in sentence for fact in (TOPIC, *facts)), sentence
        assert self.state() == before

    def state(self) -> list[ChunkRecord]:
        return list(self.log.all())

    @rule(kafka_partition=KAFKA_PARTITIONS, values=VALUES, key=st.one_of(st.none(), st.binary(max_size=3)))
    def produce(self, kafka_partition: int, values: list[bytes | None], key: bytes | None) -> None:
        high = self.kafka.kafka_partitions[kafka_partition].high
        self.kafka.produce(kafka_partition, *values, key=key)
        self.produced[kafka_partition] += [(high + n, key, value) for n, value in enumerate(values)]

    @rule(kafka_partition=KAFKA_PARTITIONS, count=st.integers(1, 5))
    def offsets_without_messages(self, kafka_partition: int, count: int) -> None:
        self.kafka.skip_offsets(kafka_partition, count)

    @rule(limits=LIMITS)
    def a_run(self, limits: Limits) -> None:
        report = self.land(limits)
        assert report.messages <= max(limits.messages_per_run, 2)
        assert all(record.window == WINDOWS[self.window].key for record in report.landed)
        # A chunk is cut after the batch that fills it.
        assert all(record.rows < limits.chunk_messages + limits.batch_messages for record in report.landed)

    @rule()
    @precondition(lambda self: self.window < len(WINDOWS) - 1)
    def the_window_ends(self) -> None:
        self.window += 1

    @rule(limits=LIMITS, when=st.sampled_from(["before commit", "after commit"]))
    def a_run_that_dies_at_the_commit(self, limits: Limits, when: str) -> None:
        log = CrashingLog(self.layout.offsets)
        object.__setattr__(log, "when", when)
        with suppress(Crash):
            self.land(limits, log=log)

    @rule(limits=LIMITS, batch=st.integers(0, 3))
    def a_run_that_dies_while_writing(self, limits: Limits, batch: int) -> None:
        def die(number: int) -> None:
            if number == batch:
                raise Crash

        self.kafka.after_batch = die
        with suppress(Crash):
            self.land(limits)
        self.kafka.after_batch = lambda number: None

    @rule(mine=LIMITS, others=LIMITS, batch=st.integers(0, 3), newer=st.integers(0, 1))
    def two_runs_that_race(self, mine: Limits, others: Limits, batch: int, newer: int) -> None:
        self.window += newer if self.window < len(WINDOWS) - 1 else 0

        def other_run(number: int) -> None:
            if number == batch:
                self.kafka.after_batch = lambda number: None
                self.land(others)

        self.kafka.after_batch = other_run
        self.land(mine, window=max(0, self.window - newer))
        self.kafka.after_batch = lambda number: None

    @rule(limits=LIMITS, back=st.integers(1, 4))
    @precondition(lambda self: self.window > 0)
    def a_late_run_for_an_older_window(self, limits: Limits, back: int) -> None:
        before = self.state()
        window = max(0, self.window - back)
        report = self.land(limits, window)
        if WINDOWS[self.window].start >= WINDOWS[window].end + GRACE:
            assert not report.landed
            assert report.verified == len([r for r in before if r.window == WINDOWS[window].key])
            assert self.state() == before

    @rule(data=st.data(), kafka_partition=KAFKA_PARTITIONS)
    def kafka_deletes_what_was_landed(self, data: st.DataObject, kafka_partition: int) -> None:
        held = self.kafka.kafka_partitions[kafka_partition]
        held.low = data.draw(st.integers(held.low, max(held.low, self.log.committed().get(kafka_partition, 0))))

    @rule(kafka_partition=KAFKA_PARTITIONS)
    def kafka_deletes_what_was_not_landed(self, kafka_partition: int) -> None:
        held = self.kafka.kafka_partitions[kafka_partition]
        committed = self.log.committed().get(kafka_partition)
        if committed is not None and held.high > committed:
            low, held.low = held.low, held.high
            [refusal] = self.land(AMPLE).refusals
            place = f"topic {TOPIC!r}, Kafka partition {kafka_partition}"
            assert refusal.startswith(f"{place}: Kafka deleted offsets {committed} to {held.high} before they were")
            [other] = set(self.kafka.kafka_partitions) - {kafka_partition}
            assert self.committed(other) == self.kafka.kafka_partitions[other].high  # it landed
            assert self.committed(kafka_partition) == committed
            held.low = low  # as from a mirror: landing goes on where it stood

    @rule(data=st.data(), kafka_partition=KAFKA_PARTITIONS)
    def kafka_deletes_what_was_not_landed_for_good(self, data: st.DataObject, kafka_partition: int) -> None:
        held, start = self.kafka.kafka_partitions[kafka_partition], self.committed(kafka_partition)
        if held.high <= start:
            return
        held.low = data.draw(st.integers(start + 1, held.high))
        lost = set(range(held.low))
        if self.committed(kafka_partition) == start:  # else nobody has seen the topic yet
            [refusal] = self.land(AMPLE).refusals
            assert f"Kafka deleted offsets {start} to {held.low} before they were landed" in refusal
            give_up(self.kafka, self.layout, WINDOWS[self.window].key, kafka_partition, start)
            # Not all that Kafka deleted: what a killed run left in the lake is taken back from there.
            losses = [loss for loss in self.log.accepted_losses() if loss.kafka_partition == kafka_partition]
            lost = {number for loss in losses for number in range(loss.start, loss.end)}
        kept = [message for message in self.produced[kafka_partition] if message[0] not in lost]
        self.produced[kafka_partition] = kept

    @rule(kafka_partition=KAFKA_PARTITIONS, length=st.integers(0, 50), identity=st.sampled_from(["second", ""]))
    def the_topic_is_recreated(self, kafka_partition: int, length: int, identity: str) -> None:
        committed = self.log.committed().get(kafka_partition, 0)
        if not identity:  # a cluster that tells none is found out by its offsets, as long as they are fewer
            length = min(length, committed - 1)
        if committed:
            kept = self.kafka.kafka_partitions
            self.kafka.kafka_partitions = {**kept, kafka_partition: FakePartition(high=length)}
            self.kafka.identity = identity
            self.refused("created again", identity or f"Kafka partition {kafka_partition}")
            self.kafka.kafka_partitions, self.kafka.identity = kept, "first"

    @rule(kafka_partition=KAFKA_PARTITIONS, more=st.integers(0, 30))
    def the_log_is_cut_short(self, kafka_partition: int, more: int) -> None:
        landed, committed = messages_in_lake(self.layout, kafka_partition), self.committed(kafka_partition)
        all_kept, kept = self.kafka.kafka_partitions, self.kafka.kafka_partitions[kafka_partition]
        if not landed or landed[-1][0] < kept.low:  # nothing to compare with
            return
        self.kafka.kafka_partitions = {**all_kept, kafka_partition: replace(kept, received_us={**kept.received_us})}
        self.kafka.cut_short(kafka_partition, landed[-1][0])
        self.kafka.produce(kafka_partition, *[b"of the new leader"] * more)
        high = self.kafka.kafka_partitions[kafka_partition].high
        refusals = self.land(AMPLE).refusals
        assert len(refusals) == (high != committed), refusals
        assert all("its log was cut short" in refusal for refusal in refusals)
        assert self.committed(kafka_partition) == committed
        self.kafka.kafka_partitions = all_kept

    @rule(data=st.data(), kind=st.sampled_from(sorted(DAMAGES)))
    def a_chunk_is_damaged_then_repaired(self, data: st.DataObject, kind: str) -> None:
        records = self.state()
        if not records:
            return
        record = data.draw(st.sampled_from(records))
        window = next(w for w in WINDOWS if w.key == record.window)
        path = self.layout.raw_chunk(record.window, record.file)
        whole, held = path.read_bytes(), self.kafka.kafka_partitions[record.kafka_partition]
        DAMAGES[kind](path)
        try:
            report = land(hire(self.kafka), self.log, self.layout, window, AMPLE, window.end + GRACE)
        except UserError as error:
            assert held.low > record.start
            facts = (TOPIC, f"Kafka partition {record.kafka_partition}", f"offsets {record.start} to {record.end}")
            assert all(fact in str(error) for fact in facts), error
            path.write_bytes(whole)  # as from a backup
        else:
            assert held.low <= record.start or record.accepted_loss is not None
            assert report.repaired == [record]
        assert self.state() == records

    @invariant()
    def lake_holds_what_was_produced(self) -> None:
        assert tiling_faults(self.state()) == []
        for kafka_partition, produced in self.produced.items():
            committed = self.log.committed().get(kafka_partition, 0)
            assert messages_in_lake(self.layout, kafka_partition) == [m for m in produced if m[0] < committed]


TestLanding = LandingMachine.TestCase
TestLanding.settings = settings(max_examples=60, stateful_step_count=30)


def layout_of(folder: Path) -> Layout:
    return Layout(folder, TOPIC)


def filled(folder: Path, count: int = 30) -> tuple[FakeKafka, Layout, ChunkRecord]:
    """A topic of one Kafka partition, landed as one chunk."""
    kafka, layout = FakeKafka.of(1), layout_of(folder)
    kafka.produce(0, *(b"message %d" % n for n in range(count)), key=b"k")
    return kafka, layout, land_all(kafka, layout)[0]


def verify(kafka: FakeKafka, layout: Layout) -> LandingReport:
    return land(hire(kafka), OffsetLog(layout.offsets), layout, OPEN, AMPLE, OPEN.end + GRACE)


def test_the_first_run_starts_where_kafka_does(memory_path: Path) -> None:
    kafka = FakeKafka.of(1)
    kafka.skip_offsets(0, 7)
    kafka.kafka_partitions[0].low = 7
    kafka.produce(0, b"a")
    [record] = land_all(kafka, layout_of(memory_path))
    assert (record.start, record.end, record.rows) == (7, 8, 1)


def test_nothing_waiting_lands_nothing(memory_path: Path) -> None:
    kafka, layout, _ = filled(memory_path)
    assert land_all(kafka, layout) == []


def test_a_range_without_any_message_is_accounted_for(memory_path: Path) -> None:
    kafka = FakeKafka.of(1)
    kafka.skip_offsets(0, 5)
    [record] = land_all(kafka, layout_of(memory_path))
    assert (record.start, record.end, record.rows) == (0, 5, 0)
    assert verify(kafka, layout_of(memory_path)).verified == 1


def test_grace_lets_a_queued_run_cut_into_its_window(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    kafka.produce(0, b"a")
    log = OffsetLog(layout.offsets)
    just_in_time = OPEN.end + GRACE - timedelta(microseconds=1)
    assert not land(hire(kafka), log, layout, OPEN, AMPLE, OPEN.end + GRACE).landed
    assert len(land(hire(kafka), log, layout, OPEN, AMPLE, just_in_time).landed) == 1


def test_an_older_window_takes_nothing_once_a_newer_one_did(memory_path: Path) -> None:
    kafka, layout, _ = filled(memory_path)
    kafka.produce(0, b"late")
    older = Window(OPEN.start - timedelta(minutes=15), OPEN.start, "2026-11-23T0945")
    report = land(hire(kafka), OffsetLog(layout.offsets), layout, older, AMPLE, OPEN.start)
    assert (report.landed, report.verified) == ([], 0)


@pytest.mark.parametrize("same_window", [True, False])
@pytest.mark.parametrize("chunk_messages", [4, 1_000])
def test_the_loser_of_a_race_gives_way_quietly(memory_path: Path, same_window: bool, chunk_messages: int) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    kafka.produce(0, *[b"x"] * 20)
    window = OPEN if same_window else WINDOWS[-1]

    def winner(number: int) -> None:
        kafka.after_batch = lambda number: None
        land_all(kafka, layout, window, Limits(10**6, chunk_messages, 2**30, 2))

    kafka.after_batch = winner
    assert land_all(kafka, layout, OPEN) == []
    assert [offset for offset, _, _ in messages_in_lake(layout, 0)] == list(range(20))


def test_a_clock_that_stepped_back_is_named(memory_path: Path) -> None:
    kafka, layout, _ = filled(memory_path)
    kafka.produce(0, b"late")
    earlier = Window(OPEN.start - timedelta(minutes=15), OPEN.start, "2026-11-23T0945")
    told = f"Kafka partition 0 has chunks in window {OPEN.key}, but by the clock the open window is {earlier.key}"
    with pytest.raises(UserError, match=told):
        land_all(kafka, layout, earlier)


def recreate(kafka: FakeKafka, *values: bytes) -> None:
    kafka.identity, kafka.kafka_partitions = "second", FakeKafka.of(1).kafka_partitions
    kafka.produce(0, *values)


def test_a_recreated_topic_is_refused_even_where_it_has_grown_longer(memory_path: Path) -> None:
    kafka, layout, record = filled(memory_path, 5)
    recreate(kafka, *[b"other"] * 9)
    told = f"topic '{TOPIC}' is not the one .* deleted and created again.*topic id second, the lake's is first"
    with pytest.raises(UserError, match=told):
        land_all(kafka, layout)
    assert list(OffsetLog(layout.offsets).all()) == [record]


def test_a_topic_recreated_while_it_is_read_is_refused(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    kafka.produce(0, b"a", b"b")
    kafka.after_batch = lambda number: recreate(kafka, b"other")
    with pytest.raises(UserError, match="topic id second"):
        land_all(kafka, layout)
    assert not list(layout.raw_window(OPEN.key).iterdir())
    assert not list(OffsetLog(layout.offsets).all())


@pytest.mark.parametrize("ids", [("", "first"), ("first", "")])
def test_a_cluster_that_tells_no_topic_id_is_trusted(memory_path: Path, ids: tuple[str, str]) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    for kafka.identity in ids:
        kafka.produce(0, b"a")
        assert [record.topic_id for record in land_all(kafka, layout)] == [kafka.identity]


def test_an_outage_while_reading_leaves_no_file(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    kafka.produce(0, b"a", b"b")

    def outage(number: int) -> None:
        raise UserError("Kafka stopped answering")

    kafka.after_batch = outage
    with pytest.raises(UserError, match="stopped answering"):
        land_all(kafka, layout)
    assert not list(layout.raw_window(OPEN.key).iterdir())


def test_the_budget_is_shared_fairly(memory_path: Path) -> None:
    kafka, log = FakeKafka.of(3), OffsetLog(memory_path)
    for kafka_partition, count in enumerate([100, 2, 50]):
        kafka.produce(kafka_partition, *[b"x"] * count)
    assert plan(kafka, log, 60) == {0: (0, 29), 1: (0, 2), 2: (0, 29)}
    assert plan(kafka, log, 1_000) == {0: (0, 100), 1: (0, 2), 2: (0, 50)}


def test_every_flipped_byte_is_noticed_or_harmless(memory_path: Path) -> None:
    kafka, layout, record = filled(memory_path)
    path = layout.raw_chunk(record.window, record.file)
    whole, chance = path.read_bytes(), random.Random(5)
    for position in sorted(chance.sample(range(len(whole)), 300)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        before = contents(path)
        if verify(kafka, layout).repaired:
            assert contents(path) == contents_of(whole, path)
        else:
            assert before == contents_of(whole, path), f"byte {position} changed the messages unnoticed"


def contents(path: Path) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).to_pylist()
    except Exception as error:
        return error


def contents_of(whole: bytes, path: Path) -> Any:
    path.with_suffix(".whole").write_bytes(whole)
    return contents(path.with_suffix(".whole"))


def test_a_repair_that_finds_other_messages_is_refused(memory_path: Path) -> None:
    kafka, layout, record = filled(memory_path)
    kafka.kafka_partitions[0].messages[3] = (b"k", b"forged")
    path = layout.raw_chunk(record.window, record.file)
    path.unlink()
    with pytest.raises(UserError, match=r"Kafka now holds other messages for .*partition 0, offsets 0 to 30"):
        verify(kafka, layout)
    assert list(path.parent.iterdir()) == []
    assert list(OffsetLog(layout.offsets).all()) == [record]


@pytest.mark.parametrize(
    ("landed", "found", "end"),
    [(b"message 3", b"message X", 3), (None, b"", 3), (b"", None, 3), (b"message 3", b"message 3", 4)],
)
def test_a_whole_chunk_of_other_messages_or_of_another_end_is_damaged(
    landed: bytes | None, found: bytes | None, end: int, memory_path: Path
) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    kafka.produce(0, b"a", landed, b"b", key=b"k")
    [record] = land_all(kafka, layout)
    other = FakeKafka.of(1)
    other.produce(0, b"a", found, b"b", key=b"k")
    [batch], writer = other.read(0, 0, 3, 3), ChunkWriter(memory_path / "other.parquet")
    writer.write(batch)
    writer.close(end)
    writer.path.replace(layout.raw_chunk(record.window, record.file))
    assert verify(kafka, layout).repaired == [record]
    assert [value for _, _, value in messages_in_lake(layout, 0)] == [b"a", landed, b"b"]


def test_a_repair_that_dies_leaves_the_record_and_no_file(memory_path: Path) -> None:
    kafka, layout, record = filled(memory_path)

    def die(number: int) -> None:
        raise Crash

    layout.raw_chunk(record.window, record.file).unlink()
    kafka.after_batch = die
    with pytest.raises(Crash):
        verify(kafka, layout)
    assert list(layout.raw_window(record.window).iterdir()) == []
    kafka.after_batch = lambda number: None
    assert verify(kafka, layout).repaired == [record]


def test_a_partition_that_kafka_no_longer_has_is_named(memory_path: Path) -> None:
    kafka, layout, record = filled(memory_path)
    layout.raw_chunk(record.window, record.file).unlink()
    kafka.kafka_partitions = {}
    with pytest.raises(UserError, match="Kafka holds nothing of that partition of topic 'clicks', Kafka partition 0"):
        verify(kafka, layout)


def test_tiling_faults_name_gaps_and_overlaps() -> None:
    def record(start: int, end: int, kafka_partition: int = 0) -> ChunkRecord:
        return ChunkRecord(TOPIC, kafka_partition, start, end, 1, "w", "f", "c")

    faults = tiling_faults([record(0, 5), record(7, 9), record(8, 12), record(3, 4, 1), record(4, 5, 1)])
    assert [(f.kafka_partition, f.start, f.end, f.kind) for f in faults] == [(0, 5, 7, "gap"), (0, 8, 9, "overlap")]


def test_the_day_of_these_tests_has_windows() -> None:
    assert WINDOWS[0].start == datetime.fromisoformat("2026-11-23T08:00:00-05:00")


def test_one_that_cannot_be_asked_does_not_keep_the_others_waiting(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(3), layout_of(memory_path)
    for number in range(3):
        kafka.produce(number, b"a", b"b")
    kafka.unanswered = {1: "no broker leads Kafka partition 1"}
    report = land(hire(kafka), OffsetLog(layout.offsets), layout, OPEN, AMPLE, OPEN.start)
    assert report.refusals == ["no broker leads Kafka partition 1"]
    assert {record.kafka_partition: record.rows for record in report.landed} == {0: 2, 2: 2}
    kafka.unanswered = {}
    assert [(record.kafka_partition, record.rows) for record in land_all(kafka, layout)] == [(1, 2)]


def chunk_files(layout: Layout) -> set[str]:
    return {path.name for path in layout.raw_window(OPEN.key).glob("*")}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunk_messages", [10, 1_000])
def test_what_comes_before_a_damaged_message_lands_and_the_other_kafka_partitions_do(
    threads: int, chunk_messages: int, memory_path: Path
) -> None:
    kafka, layout = FakeKafka.of(4), layout_of(memory_path)
    for number in range(4):
        kafka.produce(number, *[b"m"] * 50)
    kafka.undeliverable = {0: 25}
    log, limits = OffsetLog(layout.offsets), replace(AMPLE, batch_messages=10, threads=threads)
    limits = replace(limits, chunk_messages=chunk_messages)
    told = ["Kafka could not deliver clicks partition 0 offset 25"]
    for _ in range(2):  # again, there is nothing before it
        assert land(hire(kafka), log, layout, OPEN, limits, OPEN.start).refusals == told
        assert log.committed() == {0: 25, 1: 50, 2: 50, 3: 50}
        assert plan_what_continues(kafka, log, layout).refusals == told
    assert chunk_files(layout) == {record.file for record in log.all()}
    kafka.undeliverable = {}
    assert land_all(kafka, layout)[0].start == 25
    assert [offset for offset, _, _ in messages_in_lake(layout, 0)] == list(range(50))


def test_what_was_read_before_retention_passed_by_is_kept(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    kafka.produce(0, *[b"m"] * 50)
    held, log = kafka.kafka_partitions[0], OffsetLog(layout.offsets)

    def overtake(number: int) -> None:
        if number == 1:
            held.low = 40
            raise Undeliverable("Kafka could not deliver clicks partition 0 offset 20: out of range")

    kafka.after_batch = overtake
    report = land(hire(kafka), log, layout, OPEN, replace(AMPLE, batch_messages=10), OPEN.start)
    assert report.refusals == ["Kafka could not deliver clicks partition 0 offset 20: out of range"]
    kafka.after_batch = lambda number: None
    [told] = plan_what_continues(kafka, log, layout).refusals
    assert "Kafka deleted offsets 20 to 40 before they were landed" in told
    assert "accept-loss --kafka-partition 0 --from 20 --to 40" in told
    assert [offset for offset, _, _ in messages_in_lake(layout, 0)] == list(range(20))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_whose_time_is_over_begins_no_further_chunk(threads: int, memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(2), layout_of(memory_path)
    for number in range(2):
        kafka.produce(number, *[b"m"] * 25)
    limits = Limits(10**6, chunk_messages=10, chunk_bytes=2**30, batch_messages=5, threads=threads, longest_s=0)
    assert [record.rows for record in land_all(kafka, layout, limits=limits)] == [10] * threads
    for _ in range(6):
        land_all(kafka, layout, limits=limits)
    for number in range(2):
        assert [offset for offset, _, _ in messages_in_lake(layout, number)] == list(range(25))
    assert chunk_files(layout) == {record.file for record in OffsetLog(layout.offsets).all()}


def test_an_interruption_is_heeded_after_a_batch_and_leaves_no_file(memory_path: Path) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    batches: list[int] = []
    kafka.produce(0, *[b"m"] * 3_000)

    def slow(number: int) -> None:
        if number == 3:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # Ctrl-C
        batches.append(number)
        time.sleep(0.001)

    kafka.after_batch = slow
    with pytest.raises(KeyboardInterrupt):
        land_all(kafka, layout, limits=replace(AMPLE, batch_messages=1))
    assert 3 < len(batches) < 3_000
    assert chunk_files(layout) == set()
    kafka.after_batch = lambda number: None
    assert [record.rows for record in land_all(kafka, layout)] == [3_000]


@pytest.mark.parametrize("step", ["write", "close"])
def test_a_full_disk_leaves_no_file_behind(step: str, memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka, layout = FakeKafka.of(1), layout_of(memory_path)
    kafka.produce(0, b"m")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(ChunkWriter, step, full)
        with pytest.raises(OSError, match="No space left on device"):
            land_all(kafka, layout)
    assert chunk_files(layout) == set()
    assert len(land_all(kafka, layout)) == 1
