"""Which Kafka offsets are in the lake: the one place that decides, and the commit point of every chunk.

A record is a tiny file named by Kafka partition and *start* offset, created exclusively once its chunk is whole on
disk. Creating it is the commit: two runs that race for one range, in the same window or in different ones, meet at the
same name and one of them loses. Records form a chain per Kafka partition (each starts where the one before ends) whose
windows never step back. A chunk file that no record names was never committed.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from usage_analytics.errors import UserError
from usage_analytics.ingestion.record_files import RecordFiles, crc_of, start_of
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.lake.files import create_exclusive

FORMAT = 1
BEGINS = -1
LOSSES = "losses"  # beside the folders of Kafka partitions: empty files that mark where records of losses are


@dataclass(frozen=True)
class ChunkRecord:
    """A committed chunk: offsets ``[start, end)`` of one Kafka partition, its window, file and content checksum.

    ``topic_id`` is Kafka's own identity of the topic, new whenever one is created; empty where it tells none.
    ``follows`` is set by the commit: the start of the record before it, -1 if it begins its chain, None in records of
    before. ``accepted_loss``: Kafka deleted these offsets before they were landed; who accepted that, when and why.
    ``ends_with``: its last message as `chunk_file.last_message` tells it; None without one, and in records of before.
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
    ends_with: str | None = None

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
    """The records of one topic, below one folder; of a share, only those of its Kafka partitions.

    What a look-up costs follows what it gives, and how much is newer, not how much is in the log.
    """

    folder: Path
    share: Share = EVERYTHING

    def kafka_partitions(self) -> list[int]:
        """The Kafka partitions that have records."""
        numbers = (int(path.name) for path in self.folder.glob("*") if path.name.isdecimal())
        return sorted(filter(self.share.takes, numbers))

    def last(self, kafka_partition: int) -> ChunkRecord | None:
        """The newest record of a Kafka partition; its ``end`` is the committed offset."""
        return next(map(_read, self._files(kafka_partition).backwards()), None)

    def lasts(self) -> dict[int, ChunkRecord]:
        """The newest record of each Kafka partition that has any."""
        lasts = {partition: self.last(partition) for partition in self.kafka_partitions()}
        return {partition: record for partition, record in lasts.items() if record is not None}

    def commit_times(self) -> dict[int, datetime]:
        """When each Kafka partition's newest chunk was committed, by the file system's clock."""
        newest = {partition: next(self._files(partition).backwards(), None) for partition in self.kafka_partitions()}
        return {n: datetime.fromtimestamp(path.stat().st_mtime, UTC) for n, path in newest.items() if path is not None}

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
        files = self._files(record.kafka_partition)
        last = next(map(_read, files.backwards()), None)
        if files.written(record.start) is not None:
            raise OffsetConflict(record.name)
        if last is not None and (record.start != last.end or record.window < last.window):
            raise ValueError(f"{record.name} in window {record.window} does not continue {last}")
        linked = replace(record, follows=BEGINS if last is None else last.start)
        self._mark_loss(record)
        if not create_exclusive(files.new(record.start), _content(linked)):
            raise OffsetConflict(record.name)

    def at(self, kafka_partition: int, start: int) -> ChunkRecord | None:
        """The record that begins at an offset; None unless it is there as it was written."""
        path = self._files(kafka_partition).written(start)
        return None if path is None else _sound(path)

    def around(self, kafka_partition: int, start: int) -> tuple[ChunkRecord | None, ChunkRecord | None]:
        """The nearest sound records before and behind the one that begins, or would begin, at an offset."""
        files = self._files(kafka_partition)
        before = files.backwards(files.place(lambda path: start_of(path) < start))
        behind = files.onwards(files.place(lambda path: start_of(path) <= start))
        return next(filter(None, map(_sound, before)), None), next(filter(None, map(_sound, behind)), None)

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

    def of_offsets(self, kafka_partition: int, start: int, end: int) -> Iterator[ChunkRecord]:
        """The records that hold some of the offsets ``[start, end)``, newest first, each read when it is its turn."""
        files = self._files(kafka_partition)
        upto = files.backwards(files.place(lambda path: start_of(path) < end))
        return takewhile(lambda record: record.end > start, map(_read, upto))

    def latest_windows(self, count: int) -> list[str]:
        """The newest windows that hold chunks, newest first."""
        windows: set[str] = set()
        for partition in self.kafka_partitions():
            mine: set[str] = set()
            for record in map(_read, self._files(partition).backwards()):
                mine.add(record.window)
                if len(mine) > count:
                    break
            windows |= mine
        return sorted(windows, reverse=True)[:count]

    def all(self) -> Iterator[ChunkRecord]:
        """Every record, by Kafka partition and offset."""
        for partition in self.kafka_partitions():
            yield from map(_read, self._files(partition).onwards())

    def accepted_losses(self) -> list[ChunkRecord]:
        """The records of accepted losses, by Kafka partition and offset, without a walk through all records."""
        marks = (path.name.split("+") for path in sorted((self.folder / LOSSES).glob("[!.]*+*")))
        places = [(int(partition), int(start)) for partition, start in marks if self.share.takes(int(partition))]
        paths = [self._files(partition).written(start) for partition, start in places]
        records = [_read(path) for path in paths if path is not None]
        return [record for record in records if record.accepted_loss is not None]

    def firsts(self) -> list[ChunkRecord]:
        """The oldest record of each Kafka partition."""
        return [record for p in self.kafka_partitions() for record in map(_read, islice(self._files(p).onwards(), 1))]

    def covers(self, kafka_partition: int, start: int, end: int) -> bool:
        """Whether records hold all offsets ``[start, end)``, in whichever windows."""
        for record in self.of_offsets(kafka_partition, start, end):
            if record.end < end:
                return False
            end = record.start
            if end <= start:
                return True
        return False

    def _mark_loss(self, record: ChunkRecord) -> None:
        # Before the record: a mark without one is passed over, a record without one would be found by a walk only.
        if record.accepted_loss is not None:
            create_exclusive(self.folder / LOSSES / f"{record.kafka_partition:03d}+{record.start:020d}", b"")

    def _run(self, kafka_partition: int, window: str, before: int) -> list[ChunkRecord]:
        # Windows never step back along a chain, so a window's records are one run of it.
        files, read = self._files(kafka_partition), cache(_read)
        begin = files.place(lambda path: read(path).window < window)
        run = list(takewhile(lambda record: record.window == window, map(read, files.onwards(begin))))
        return [*map(read, islice(files.backwards(begin), before)), *run] if run else []

    def _path(self, kafka_partition: int, start: int) -> Path:
        files = self._files(kafka_partition)
        return files.written(start) or files.new(start)

    def _files(self, kafka_partition: int) -> RecordFiles:
        return RecordFiles(self.folder / f"{kafka_partition:03d}")


def _sound(path: Path) -> ChunkRecord | None:
    try:
        record = _read(path)
    except (FileNotFoundError, UserError):
        return None
    return record if record.start == start_of(path) else None


def _content(record: ChunkRecord) -> bytes:
    fields = _fields(record)
    return json.dumps({"format": FORMAT, **fields, "crc": crc_of(fields)}).encode()


def _remedy(path: Path) -> str:
    place = f"--kafka-partition {path.parent.parent.name.lstrip('0') or '0'} --from {path.stem.lstrip('0') or '0'}"
    return f"restore it from a copy of the lake, or from its chunk: usage-analytics rebuild-offset-records {place}"


def _fields(record: ChunkRecord) -> dict[str, Any]:
    fields = asdict(record)
    for added in ("accepted_loss", "ends_with"):
        if fields[added] is None:  # as records were written before there was such a thing
            del fields[added]
    return fields


def _read(path: Path) -> ChunkRecord:
    try:
        fields = json.loads(path.read_bytes())
        if fields.pop("format") != FORMAT:
            raise UserError(f"offset record {path}: written by another version of the platform")
        crc = fields.pop("crc", None)  # records of before have none
        record = ChunkRecord(**fields)
        if crc is not None and crc != crc_of(_fields(record)):
            raise ValueError("it is not as it was written")
        return record
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"offset record {path} is damaged: {error}; {_remedy(path)}") from None
