"""The files of one Kafka partition's offset records, by offset: searched without a look at most of them.

They lie in folders, the shards, whose names sort as the offsets in them do. The newest are looked for far more often
than others, so each search begins at the end and doubles its steps: it costs what is newer than the place it finds, by
the logarithm, and hardly more when the topic is years old.
"""

import json
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

OFFSETS_PER_SHARD = 10**7  # at a hundred thousand messages a record, a hundred files: soon listed
# Lakes of before have larger shards. Their numbers are never above those of newer offsets (division by less gives
# more), so old shards, which hold a chain's beginning, sort before new ones.
ONCE_PER_SHARD = 10**9
SUFFIX = ".json"
Place = tuple[int, int]  # between two files: the number of a shard, and how many of its files come before


class RecordFiles:
    """The files of one moment; a shard is listed when something in it is asked for, and once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[int, list[str]] = {}

    def place(self, comes_before: Callable[[Path], bool]) -> Place:
        """Where those end that come before: a first part of all files, if any."""

        def begins_before(shard: int) -> bool:  # an empty one counts as if it were the next
            first = next(self.onwards((shard, 0)), None)
            return first is not None and comes_before(first)

        shard = _how_many(len(self._shards), begins_before) - 1
        if shard < 0:
            return 0, 0
        return shard, _how_many(len(self._names(shard)), lambda number: comes_before(self._file(shard, number)))

    def onwards(self, place: Place = (0, 0)) -> Iterator[Path]:
        """The files from a place on, or all."""
        first, before = place
        for shard in range(first, len(self._shards)):
            for number in range(before if shard == first else 0, len(self._names(shard))):
                yield self._file(shard, number)

    def backwards(self, place: Place | None = None) -> Iterator[Path]:
        """The files before a place, or all, the newest first."""
        last, before = place or (len(self._shards), 0)
        for shard in reversed(range(min(last + 1, len(self._shards)))):
            for number in reversed(range(before if shard == last else len(self._names(shard)))):
                yield self._file(shard, number)

    def written(self, start: int) -> Path | None:
        """The file of a record, in a shard of now or of before; None where there is none."""
        paths = (self._path(start, size) for size in (OFFSETS_PER_SHARD, ONCE_PER_SHARD))
        return next((path for path in paths if path.exists()), None)

    def new(self, start: int) -> Path:
        """The file of a record to be written: the order of all stays that of their offsets."""
        behind = next(self.onwards(self.place(lambda path: start_of(path) <= start)), None)
        if behind is not None and behind != self._path(start_of(behind), OFFSETS_PER_SHARD):
            return self._path(start, ONCE_PER_SHARD)
        return self._path(start, OFFSETS_PER_SHARD)

    def _path(self, start: int, offsets_per_shard: int) -> Path:
        return self._folder / f"{start // offsets_per_shard:011d}" / f"{start:020d}{SUFFIX}"

    def _file(self, shard: int, number: int) -> Path:
        return self._folder / self._shards[shard] / self._names(shard)[number]

    @cached_property
    def _shards(self) -> list[str]:
        return [name for name in _in(self._folder) if name.isdecimal()]

    def _names(self, shard: int) -> list[str]:
        if shard not in self._listed:
            names = _in(self._folder / self._shards[shard])
            self._listed[shard] = [n for n in names if n.endswith(SUFFIX) and n.removesuffix(SUFFIX).isdecimal()]
        return self._listed[shard]


def start_of(path: Path) -> int:
    """The first offset of a record, by its file's name."""
    return int(path.stem)


def _in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _how_many(count: int, comes_before: Callable[[int], bool]) -> int:
    """How many of the numbers below ``count`` come before, which are the first ones; the last are asked first."""
    step = 1
    while step <= count and not comes_before(count - step):
        step *= 2
    low, high = max(0, count - step + 1), count - step // 2
    return bisect_left(range(count), True, low, high, key=lambda number: not comes_before(number))


def crc_of(fields: dict[str, Any]) -> str:
    """The checksum by which a small JSON file shows that it is as it was written; 8 hexadecimal digits."""
    return f"{zlib.crc32(json.dumps(fields, sort_keys=True).encode()):08x}"
