"""The offset log: exclusive commits, one chain per Kafka partition, windows that never step back."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import memory_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetConflict, OffsetLog
from usage_analytics.ingestion.record_files import OFFSETS_PER_SHARD, ONCE_PER_SHARD
from usage_analytics.ingestion.verification import lost_beginnings


def record(start: int, end: int, window: str = "w1", kafka_partition: int = 0, file: str = "f") -> ChunkRecord:
    return ChunkRecord("clicks", kafka_partition, start, end, end - start, window, file, "c")


def test_committed_is_the_largest_end(tmp_path: Path) -> None:
    log = OffsetLog(tmp_path)
    assert log.committed() == {}
    assert log.last(0) is None
    log.commit(record(5, 9))
    log.commit(record(9, 12))
    log.commit(record(0, 1, kafka_partition=11))
    assert log.committed() == {0: 12, 11: 1}
    assert log.last(0) == record(9, 12)
    assert log.kafka_partitions() == [0, 11]


def test_what_is_committed_is_read_back_the_same(tmp_path: Path) -> None:
    OffsetLog(tmp_path).commit(record(5, 9))
    assert list(OffsetLog(tmp_path).all()) == [record(5, 9)]


@pytest.mark.parametrize("window", ["w0", "w1", "w2"])
@pytest.mark.parametrize("start", [0, 4, 9])
def test_a_start_that_is_taken_is_a_conflict_that_changes_nothing(tmp_path: Path, window: str, start: int) -> None:
    log = OffsetLog(tmp_path)
    chain = [record(0, 4), record(4, 9), record(9, 12)]
    for r in chain:
        log.commit(r)
    with pytest.raises(OffsetConflict):  # also where the run that won is already more than one chunk ahead
        log.commit(record(start, start + 2, window, file="other"))
    assert list(log.all()) == chain


@pytest.mark.parametrize("broken", [record(10, 12), record(8, 12), record(9, 12, "w0"), record(1, 3)])
def test_a_record_that_does_not_continue_the_chain_is_refused(tmp_path: Path, broken: ChunkRecord) -> None:
    log = OffsetLog(tmp_path)
    log.commit(record(0, 9))
    with pytest.raises(ValueError, match="does not continue"):
        log.commit(broken)
    assert list(log.all()) == [record(0, 9)]


def test_runs_that_race_from_different_windows_meet_at_one_name(memory_path: Path) -> None:
    log, committed, first = OffsetLog(memory_path), 0, 0

    def race(number: int) -> bool:
        try:
            log.commit(record(committed, committed + 1 + number, f"w{first + number:04d}", file=str(number)))
        except (OffsetConflict, ValueError):  # ValueError: too late by a whole chunk
            return False
        return True

    for start in range(0, 200, 8):
        first = start
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(race, range(8)))
        assert won.count(True) == 1
        last = log.last(0)
        assert last is not None
        assert last.file == str(won.index(True))
        committed = last.end
    assert [r.end for r in log.all()][:-1] == [r.start for r in log.all()][1:]


Chains = dict[int, tuple[int, list[tuple[int, int]]]]  # by Kafka partition: where it begins; lengths, and windows later
CHAINS = st.dictionaries(
    st.integers(0, 3),
    st.tuples(
        st.sampled_from([0, 7, OFFSETS_PER_SHARD - 3, 3 * OFFSETS_PER_SHARD - 1, ONCE_PER_SHARD - 2]),
        st.lists(
            st.tuples(st.sampled_from([1, 2, 3, OFFSETS_PER_SHARD, ONCE_PER_SHARD]), st.integers(0, 3)), max_size=12
        ),
    ),
    max_size=3,
)


def laid_out_as_once(folder: Path) -> None:
    """The records of a Kafka partition lie where the platform once put them."""
    for path in list(folder.rglob("*.json")):
        shard = folder / f"{int(path.stem) // 10**9:011d}"
        shard.mkdir(exist_ok=True)
        path.rename(shard / path.name)
    for shard in folder.glob("*"):
        if not any(shard.iterdir()):
            shard.rmdir()


def built(folder: Path, chains: Chains, once: int) -> tuple[OffsetLog, list[ChunkRecord]]:
    """A log, of which each chain's first so many records were written by the platform of before, and its records."""
    log, records = OffsetLog(folder), []
    for kafka_partition, (start, steps) in sorted(chains.items()):
        window = 0
        for number, (length, later) in enumerate(steps):
            if number == once:
                laid_out_as_once(folder / f"{kafka_partition:03d}")
            window += later
            records.append(record(start, start + length, f"w{window:03d}", kafka_partition))
            log.commit(records[-1])
            start += length
        if len(steps) <= once and steps:
            laid_out_as_once(folder / f"{kafka_partition:03d}")
    return log, records


def assert_look_ups_equal_a_scan(log: OffsetLog, records: list[ChunkRecord], count: int) -> None:
    assert list(log.all()) == records
    assert log.lasts() == {r.kafka_partition: r for r in records}
    assert log.committed() == {r.kafka_partition: r.end for r in records}
    assert log.firsts() == list({r.kafka_partition: r for r in reversed(records)}.values())[::-1]
    windows = sorted({r.window for r in records}, reverse=True)
    assert log.latest_windows(count) == windows[:count]
    for window in [*windows, "w000x", "v", "x"]:
        expected, chain = [], []
        for before, r in zip([None, *records], records, strict=False):
            if r.window == window:
                if before and before.kafka_partition == r.kafka_partition and before.window != window:
                    chain.append(before)
                expected.append(r)
                chain.append(r)
        assert log.of_window(window) == expected
        assert log.chain_into(window) == chain


@settings(max_examples=60)
@given(chains=CHAINS, once=st.integers(0, 12), count=st.integers(1, 6))
def test_look_ups_equal_a_scan_of_everything(chains: Chains, once: int, count: int) -> None:
    with memory_folder() as folder:
        log, records = built(Path(folder), chains, once)
        assert_look_ups_equal_a_scan(log, records, count)
        for r in records:
            mine = [other for other in records if other.kafka_partition == r.kafka_partition]
            place = mine.index(r)
            before, behind = [None, *mine][place], [*mine, None][place + 1]
            assert log.at(r.kafka_partition, r.start) == r
            assert log.around(r.kafka_partition, r.start) == (before, behind)
            assert list(log.of_offsets(r.kafka_partition, r.start, mine[-1].end)) == mine[place:][::-1]
            assert list(log.of_offsets(r.kafka_partition, 0, r.start + 1)) == mine[: place + 1][::-1]
            assert log.covers(r.kafka_partition, mine[0].start, r.end)
            assert not log.covers(r.kafka_partition, r.start, mine[-1].end + 1)
            with pytest.raises(OffsetConflict):
                log.commit(replace(r, file="other"))


@settings(max_examples=60)
@given(chains=CHAINS, once=st.integers(0, 12), data=st.data())
def test_records_that_were_lost_are_restored_where_they_belong(chains: Chains, once: int, data: st.DataObject) -> None:
    with memory_folder() as folder:
        log, records = built(Path(folder), chains, once)
        lost = data.draw(st.lists(st.sampled_from(records), unique_by=id) if records else st.just([]))
        for r in lost:
            log._path(r.kafka_partition, r.start).unlink()
        left = [r for r in records if r not in lost]
        assert_look_ups_equal_a_scan(log, left, count=3)
        for r in lost:
            log.restore(r, None)
            left = sorted([*left, r], key=lambda each: (each.kafka_partition, each.start))
            assert list(log.all()) == left
        assert_look_ups_equal_a_scan(log, records, count=3)


def test_a_log_begun_by_the_platform_of_before_is_continued_in_smaller_shards(tmp_path: Path) -> None:
    log, end = OffsetLog(tmp_path), 5 * 10**9 + 9
    log.commit(record(10**9 - 5, 10**9))
    log.commit(record(10**9, end))
    laid_out_as_once(tmp_path / "000")
    log.commit(record(end, end + 10**7))
    log.commit(record(end + 10**7, end + 10**7 + 1))
    assert [path.parent.name.lstrip("0") for path in sorted(tmp_path.rglob("*.json"), key=lambda p: p.name)] == [
        "", "1", "500", "501"
    ]  # fmt: skip
    assert_look_ups_equal_a_scan(log, list(log.all()), count=1)


def test_what_is_newest_costs_the_same_in_a_log_of_any_length(memory_path: Path, looks: Counter[str]) -> None:
    log, length, costs = OffsetLog(memory_path), 100_000, []
    for number in range(1_200):  # a hundred to a shard, twenty to a window
        log.commit(record(number * length, (number + 1) * length, f"w{number // 20:04d}"))
        if number + 1 in (200, 1_200):
            newest, end = f"w{number // 20:04d}", (number + 1) * length
            looks.clear()
            found = [log.of_window(newest), log.chain_into(newest), list(log.of_offsets(0, end - 5 * length, end))]
            assert [len(records) for records in found] == [20, 21, 5]
            assert log.covers(0, end - length, end)
            assert log.last(0) is not None
            assert log.latest_windows(1) == [newest]
            costs.append(dict(looks))
    assert costs[0] == costs[1]
    assert costs[0]["read"] <= 20 + 21 + 5 + 20 + 2 * 12
    looks.clear()
    assert len(log.chain_into("w0001")) == 21
    assert looks["read"] <= 60
    assert looks["listed"] <= 12


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b'{"start": 1}', b'{"format": 2}', b"\xff"])
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    log = OffsetLog(tmp_path)
    log.commit(record(0, 9))
    path = next(tmp_path.rglob("*.json"))
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"offset record {path}"):
        log.committed()


def test_what_a_crash_leaves_behind_is_no_record(tmp_path: Path) -> None:
    log = OffsetLog(tmp_path)
    log.commit(record(0, 9))
    path = next(tmp_path.rglob("*.json"))
    path.with_name(f".{path.name}.0123.inprogress").write_bytes(b"half")
    assert list(log.all()) == [record(0, 9)]


@pytest.mark.parametrize(
    ("before", "after"),
    [(b'"end": 9', b'"end": 8'), (b'"window": "w1"', b'"window": "w3"'), (b'"end": 9', b'"end": "9"'), (b"{", b"")],
)
def test_a_record_that_was_changed_is_not_believed(before: bytes, after: bytes, tmp_path: Path) -> None:
    log = OffsetLog(tmp_path)
    log.commit(record(5, 9))
    path = log._path(0, 5)
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    with pytest.raises(UserError, match=f"offset record {path} is damaged: .*; restore it from a copy of the lake"):
        log.last(0)


def test_records_of_before_are_read_too(tmp_path: Path) -> None:
    log = OffsetLog(tmp_path)
    log.commit(record(5, 9))
    path = log._path(0, 5)
    fields = json.loads(path.read_bytes())
    del fields["crc"], fields["follows"]
    path.write_text(json.dumps(fields))
    assert log.last(0) == record(5, 9)
    assert lost_beginnings(log.firsts()) == []


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
@settings(max_examples=50)
def test_covers_is_whether_records_hold_every_offset(lengths: list[int], data: st.DataObject) -> None:
    with memory_folder() as folder:
        log, held, start = OffsetLog(Path(folder)), set(), 0
        records = []
        for length in lengths:
            records.append(record(start, start + length))
            log.commit(records[-1])
            start += length
        lost = data.draw(st.sets(st.sampled_from(records)))
        for each in records:
            if each in lost:
                log._path(0, each.start).unlink()
            else:
                held |= set(range(each.start, each.end))
        for low in range(start):
            for high in range(low + 1, start + 2):
                assert log.covers(0, low, high) == (set(range(low, high)) <= held)


def test_a_chain_knows_where_it_began(tmp_path: Path) -> None:
    log = OffsetLog(tmp_path)
    for start in (5, 9, 12):
        log.commit(record(start, {5: 9, 9: 12, 12: 20}[start]))
    assert lost_beginnings(log.firsts()) == []
    log._path(0, 5).unlink()
    assert [fault.describe() for fault in lost_beginnings(log.firsts())] == ["Kafka partition 0: gap 5 to 9"]
