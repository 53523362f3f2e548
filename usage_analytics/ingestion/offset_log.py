"""Which Kafka offsets are in the lake: the one place that decides, and the commit point of every chunk.

A record is a tiny file named by Kafka partition and *start* offset, created exclusively once its chunk is whole on
disk. Creating it is the commit: two runs that race for one range, in the same window or in different ones, meet at the
same name and one of them loses. Records form a chain per Kafka partition (each starts where the one before ends) whose
windows never step back. A chunk file that no record names was never committed.
"""

import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.lake.files import create_exclusive

OFFSETS_PER_SHARD = 10**9  # keeps folders small enough to list, whatever the age of a topic
FORMAT = 1
BEGINS = -1
LOSSES = "losses"  # beside the folders of Kafka partitions: empty files that mark where records of losses are


@dataclass(frozen=True)
class ChunkRecord:
    """A committed chunk: offsets ``[start, end)`` of one Kafka partition, its window, file and content checksum.

    ``topic_id`` is Kafka's own identity of the topic, new whenever one is created; empty where it tells none.
    ``follows`` is set by the commit: the start of the record before it, -1 if it begins its chain, None in records of
    before. ``accepted_loss``: Kafka deleted these offsets before they were landed; who accepted that, when and why.
    """

    topic: str
    kafka_partition: int
    start: int
    end: int
    rows: int
    window: str
    file: str
    checksum: str
    topic_id: str = ""
    follows: int | None = field(default=None, compare=False)
    accepted_loss: str | None = None

    @property
    def name(self) -> str:
        """Names the chunk and everything made from it, such as ``usage-messages+003+00000000000000120000``."""
        return chunk_name(self.topic, self.kafka_partition, self.start)


class OffsetConflict(Exception):
    """Another run committed a chunk from the same start offset first."""


def chunk_name(topic: str, kafka_partition: int, start: int) -> str:
    return f"{topic}+{kafka_partition:03d}+{start:020d}"


@dataclass(frozen=True)
class OffsetLog:
    """The records of one topic, below one folder; of a share, only those of its Kafka partitions."""

    folder: Path
    share: Share = EVERYTHING

    def kafka_partitions(self) -> list[int]:
        """The Kafka partitions that have records."""
        numbers = (int(path.name) for path in self.folder.glob("*") if path.name.isdecimal())
        return sorted(filter(self.share.takes, numbers))

    def last(self, kafka_partition: int) -> ChunkRecord | None:
        """The newest record of a Kafka partition; its ``end`` is the committed offset."""
        for shard in reversed(self._shards(kafka_partition)):
            records = _record_files(shard)
            if records:
                return _read(records[-1])
        return None

    def lasts(self) -> dict[int, ChunkRecord]:
        """The newest record of each Kafka partition that has any."""
        lasts = {partition: self.last(partition) for partition in self.kafka_partitions()}
        return {partition: record for partition, record in lasts.items() if record is not None}

    def last_commit(self) -> datetime | None:
        """When a chunk was last committed, by the file system's clock; None before the first."""
        files = (self._path(last.kafka_partition, last.start) for last in self.lasts().values())
        return max((datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in files), default=None)

    def topic_ids(self) -> set[str]:
        """The topics that the newest records are of, whatever the share, by Kafka's own identity."""
        return {last.topic_id for last in replace(self, share=EVERYTHING).lasts().values()}

    def committed(self) -> dict[int, int]:
        """The committed offset of each Kafka partition: everything before it is in the lake."""
        return {partition: record.end for partition, record in self.lasts().items()}

    def commit(self, record: ChunkRecord) -> None:
        """Commit a chunk; `OffsetConflict`, with nothing changed, if its start is taken.

        A record that does not continue the chain, or whose window is older than the chain's, is a programming
        error: ValueError.
        """
        last = self.last(record.kafka_partition)
        if self._path(record.kafka_partition, record.start).exists():
            raise OffsetConflict(record.name)
        if last is not None and (record.start != last.end or record.window < last.window):
            raise ValueError(f"{record.name} in window {record.window} does not continue {last}")
        linked = replace(record, follows=BEGINS if last is None else last.start)
        self._mark_loss(record)
        if not create_exclusive(self._path(record.kafka_partition, record.start), _content(linked)):
            raise OffsetConflict(record.name)

    def at(self, kafka_partition: int, start: int) -> ChunkRecord | None:
        """The record that begins at an offset; None unless it is there as it was written."""
        try:
            record = _read(self._path(kafka_partition, start))
        except (FileNotFoundError, UserError):
            return None
        return record if record.start == start else None

    def around(self, kafka_partition: int, start: int) -> tuple[ChunkRecord | None, ChunkRecord | None]:
        """The nearest sound records before and behind the one that begins, or would begin, at an offset."""
        paths = [path for shard in self._shards(kafka_partition) for path in _record_files(shard)]
        starts = [int(path.stem) for path in paths]
        before = reversed(starts[: bisect_left(starts, start)])
        behind = starts[bisect_right(starts, start) :]
        return self._first_sound(kafka_partition, before), self._first_sound(kafka_partition, behind)

    def restore(self, record: ChunkRecord, follows: int | None) -> None:
        """Write a lost record again; a damaged one is renamed to ``….damaged`` first. For `rebuild_records` only."""
        path = self._path(record.kafka_partition, record.start)
        if path.exists():
            path.rename(path.with_name(f"{path.name}.damaged"))
        self._mark_loss(record)
        if not create_exclusive(path, _content(replace(record, follows=follows))):
            raise OffsetConflict(record.name)

    def of_window(self, window: str) -> list[ChunkRecord]:
        """The records of a window, by Kafka partition and offset."""
        return [record for p in self.kafka_partitions() for record in self._run(p, window, 0)]

    def chain_into(self, window: str) -> list[ChunkRecord]:
        """The records of a window, and before them the one that each Kafka partition's continue."""
        return [record for p in self.kafka_partitions() for record in self._run(p, window, 1)]

    def latest_windows(self, count: int) -> list[str]:
        """The newest windows that hold chunks, newest first."""
        windows: set[str] = set()
        for partition in self.kafka_partitions():
            mine: set[str] = set()
            for record in self._backwards(partition):
                mine.add(record.window)
                if len(mine) > count:
                    break
            windows |= mine
        return sorted(windows, reverse=True)[:count]

    def all(self) -> Iterator[ChunkRecord]:
        """Every record, by Kafka partition and offset."""
        for partition in self.kafka_partitions():
            for shard in self._shards(partition):
                yield from map(_read, _record_files(shard))

    def accepted_losses(self) -> list[ChunkRecord]:
        """The records of accepted losses, by Kafka partition and offset, without a walk through all records."""
        marks = (path.name.split("+") for path in sorted((self.folder / LOSSES).glob("[!.]*+*")))
        places = [(int(partition), int(start)) for partition, start in marks if self.share.takes(int(partition))]
        records = [_read(path) for path in (self._path(*place) for place in places) if path.exists()]
        return [record for record in records if record.accepted_loss is not None]

    def firsts(self) -> list[ChunkRecord]:
        """The oldest record of each Kafka partition."""
        found = []
        for partition in self.kafka_partitions():
            files = next((files for shard in self._shards(partition) if (files := _record_files(shard))), [])
            found += [_read(path) for path in files[:1]]
        return found

    def covers(self, kafka_partition: int, start: int, end: int) -> bool:
        """Whether records hold all offsets ``[start, end)``, in whichever windows."""
        for shard in reversed(self._shards(kafka_partition)):
            for path in reversed(_record_files(shard)):
                if int(path.stem) >= end:
                    continue
                record = _read(path)
                if record.end < end:
                    return False
                end = record.start
                if end <= start:
                    return True
        return False

    def _first_sound(self, kafka_partition: int, starts: Iterable[int]) -> ChunkRecord | None:
        found = (self.at(kafka_partition, start) for start in starts)
        return next((record for record in found if record is not None), None)

    def _mark_loss(self, record: ChunkRecord) -> None:
        # Before the record: a mark without one is passed over, a record without one would be found by a walk only.
        if record.accepted_loss is not None:
            create_exclusive(self.folder / LOSSES / f"{record.kafka_partition:03d}+{record.start:020d}", b"")

    def _run(self, kafka_partition: int, window: str, before: int) -> list[ChunkRecord]:
        # Windows never step back along a chain, so a window's records are one run of it: two binary searches.
        shards = [files for shard in self._shards(kafka_partition) if (files := _record_files(shard))]
        first = max(0, bisect_left(shards, window, key=lambda files: _read(files[0]).window) - 2)
        last = bisect_right(shards, window, key=lambda files: _read(files[0]).window)
        paths = [path for files in shards[first:last] for path in files]
        low = bisect_left(paths, window, key=lambda path: _read(path).window)
        high = bisect_right(paths, window, key=lambda path: _read(path).window)
        return [_read(path) for path in paths[max(0, low - before) : high]] if low < high else []

    def _backwards(self, kafka_partition: int) -> Iterator[ChunkRecord]:
        for shard in reversed(self._shards(kafka_partition)):
            yield from map(_read, reversed(_record_files(shard)))

    def _shards(self, kafka_partition: int) -> list[Path]:
        return sorted(self.folder.joinpath(f"{kafka_partition:03d}").glob("*"))

    def _path(self, kafka_partition: int, start: int) -> Path:
        shard = self.folder / f"{kafka_partition:03d}" / f"{start // OFFSETS_PER_SHARD:011d}"
        return shard / f"{start:020d}.json"


def _record_files(shard: Path) -> list[Path]:
    return sorted(path for path in shard.glob("*.json") if not path.name.startswith("."))


def _content(record: ChunkRecord) -> bytes:
    fields = _fields(record)
    return json.dumps({"format": FORMAT, **fields, "crc": _crc(fields)}).encode()


def _remedy(path: Path) -> str:
    place = f"--kafka-partition {path.parent.parent.name.lstrip('0') or '0'} --from {path.stem.lstrip('0') or '0'}"
    return f"restore it from a copy of the lake, or from its chunk: usage-analytics rebuild-offset-records {place}"


def _fields(record: ChunkRecord) -> dict[str, Any]:
    fields = asdict(record)
    if record.accepted_loss is None:  # as records were written before there was such a thing
        del fields["accepted_loss"]
    return fields


def _crc(fields: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(fields, sort_keys=True).encode()):08x}"


def _read(path: Path) -> ChunkRecord:
    try:
        fields = json.loads(path.read_bytes())
        if fields.pop("format") != FORMAT:
            raise UserError(f"offset record {path}: written by another version of the platform")
        crc = fields.pop("crc", None)  # records of before have none
        record = ChunkRecord(**fields)
        if crc is not None and crc != _crc(_fields(record)):
            raise ValueError("it is not as it was written")
        return record
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"offset record {path} is damaged: {error}; {_remedy(path)}") from None
